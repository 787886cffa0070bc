create unique index concurrently {index} on {partition} (create_date, message_id)

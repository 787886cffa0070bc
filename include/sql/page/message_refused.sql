select batch_id, reason, refused_at from login_etl.refused_rows where message_id = %(message_id)s

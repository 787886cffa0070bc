create unique index concurrently user_logins_new_key on public.user_logins (create_date, message_id)
where message_id is not null

alter table {partition} add primary key (create_date, message_id);
drop index if exists public.user_logins_key

select not exists (select from pg_index where indrelid = to_regclass('public.user_logins') and indisprimary)

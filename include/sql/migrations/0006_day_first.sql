-- The day comes first in the key's index: a merge's rows are of one day or two, so that they touch a small part of it,
-- however large the month is (docs/tables.md has the figures).
create unique index if not exists user_logins_key on public.user_logins (create_date, message_id);
drop index if exists public.user_logins_message_key;

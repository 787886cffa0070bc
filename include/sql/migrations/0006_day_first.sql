-- The day comes first in the key's index: a merge's rows are of one day or two, so that they touch a small part of it,
-- however large the month is (docs/tables.md has the figures). One that somebody has begun to make is no use.
do $$
begin
    if exists (select from pg_index where indexrelid = to_regclass('public.user_logins_key') and not indisvalid) then
        drop index public.user_logins_key;
    end if;
end $$;

create unique index if not exists user_logins_key on public.user_logins (create_date, message_id);

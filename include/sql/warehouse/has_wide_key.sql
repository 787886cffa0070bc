-- Whether an adopted table, which is not partitioned, has rows of before in an index of ours.
select exists (
    select from pg_index
    inner join pg_class on pg_class.oid = indrelid
    where
        indexrelid = to_regclass('public.user_logins_key')
        and indrelid = to_regclass('public.user_logins')
        and relkind = 'r'
        and indpred is null
) and exists (select from public.user_logins where message_id is null)

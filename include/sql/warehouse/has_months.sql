-- Whether user_logins is partitioned by us, into months and a default partition; an adopted table is not.
select exists (
    select from pg_partitioned_table
    inner join pg_class as fallback on fallback.oid = partdefid
    where
        partrelid = to_regclass('public.user_logins')
        and fallback.oid = to_regclass('public.user_logins_default')
        -- One that was adopted may have partitions of these names.
        and exists (select from pg_attribute where attrelid = partrelid and attname = 'message_id' and attnotnull)
)

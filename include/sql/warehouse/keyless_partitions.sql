select
    relname::text as name,
    (
        select indisvalid
        from pg_index
        inner join pg_class as index on index.oid = indexrelid
        where indrelid = pg_class.oid and index.relname = pg_class.relname || '_pkey'
    ) as index,
    (
        select convalidated from pg_constraint where conrelid = pg_class.oid and conname = pg_class.relname || '_dated'
    ) as check
from pg_inherits
inner join pg_class on pg_class.oid = inhrelid
where
    inhparent = 'public.user_logins'::regclass
    and relnamespace = 'public'::regnamespace
    and not exists (select from pg_index where indrelid = pg_class.oid and indisprimary)
order by relpages, relname

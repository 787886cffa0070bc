-- Whether the vault's table of recipients is there, whether this login may read it, and whether today's partition of the
-- originals is there. Of the catalogue only.
select
    count(*) filter (where relname = 'recipients') > 0 as is_there,
    coalesce(
        bool_and(has_schema_privilege(nspname, 'usage') and has_table_privilege(pg_class.oid, 'select'))
        filter (where relname = 'recipients'),
        false
    ) as is_readable,
    count(*) filter (where relname <> 'recipients') > 0 as has_today
from pg_class
inner join pg_namespace on pg_namespace.oid = relnamespace
where
    nspname = 'privacy'
    and relname in ('recipients', to_char(now() at time zone 'UTC', '"originals_"YYYY"_"MM"_"DD'))

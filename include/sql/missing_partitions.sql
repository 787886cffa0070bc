-- Joins, not to_regclass(): that may answer from a cache filled before this transaction waited for its lock.
select wanted.name
from unnest(%(schemas)s::text[], %(tables)s::text[], %(names)s::text[]) as wanted (schema, parent, name)
inner join pg_namespace on nspname = wanted.schema
inner join pg_class as parent on parent.relname = wanted.parent and parent.relnamespace = pg_namespace.oid
left join pg_class as present on present.relname = wanted.name and present.relnamespace = pg_namespace.oid
where
    present.oid is null
    and pg_get_partkeydef(parent.oid) in ('RANGE (staged_on)', 'RANGE (create_date)')

-- Of an adopted table nothing is missing: only one of ours has our default partition.
-- Joins, not to_regclass(): that may answer from a cache filled before this transaction waited for its lock.
select wanted.name
from unnest(%(schemas)s::text[], %(tables)s::text[], %(names)s::text[]) as wanted (schema, parent, name)
inner join pg_namespace on nspname = wanted.schema
inner join pg_class as parent on parent.relname = wanted.parent and parent.relnamespace = pg_namespace.oid
inner join pg_partitioned_table on partrelid = parent.oid
left join pg_class as fallback on fallback.oid = partdefid
left join pg_class as present on present.relname = wanted.name and present.relnamespace = pg_namespace.oid
where
    present.oid is null
    and (
        wanted.parent = 'staging_logins'
        or (
            fallback.relname = wanted.parent || '_default'
            and exists (select from pg_attribute where attrelid = parent.oid and attname = 'message_id' and attnotnull)
        )
    )

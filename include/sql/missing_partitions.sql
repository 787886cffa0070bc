select wanted.name
from unnest(%(schemas)s::text[], %(tables)s::text[], %(names)s::text[]) as wanted (schema, parent, name)
inner join pg_partitioned_table
    on partrelid = to_regclass(format('%%I.%%I', wanted.schema, wanted.parent))
where
    to_regclass(format('%%I.%%I', wanted.schema, wanted.name)) is null
    and pg_get_partkeydef(partrelid) in ('RANGE (staged_on)', 'RANGE (create_date)')

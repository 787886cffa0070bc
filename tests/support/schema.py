"""What a set-up has made, by the catalogue, in an order of its own: what all databases of one version have alike.

Left out are a partition's comments, which are those of the day when it was made, and the names that Postgres gives to
`not null`.
"""

SCHEMA = """
with ours as (
    select pg_class.*, nspname || '.' || relname as name
    from pg_class inner join pg_namespace on pg_namespace.oid = relnamespace
    where nspname in ('public', 'login_etl', 'privacy')
)
select
    'relation' as what, name, concat(relkind, ' ', relpersistence, ' ', relreplident) as of_it,
    concat_ws(' ', pg_get_userbyid(relowner), relacl::text, reloptions::text, pg_get_expr(relpartbound, oid)) as is_so
from ours
union all
select
    'column', name, concat(attnum, ' ', attname),
    concat_ws(
        ' ', format_type(atttypid, atttypmod), attcollation::regcollation, attnotnull, attidentity, attgenerated,
        attacl::text, pg_get_expr(adbin, adrelid)
    )
from ours
inner join pg_attribute on attrelid = ours.oid
left join pg_attrdef on adrelid = attrelid and adnum = attnum
where attnum > 0 and relkind <> 'i' and relkind <> 'I'
union all
select 'index', name, indexrelid::regclass::text, concat(pg_get_indexdef(indexrelid), indisvalid)
from ours inner join pg_index on indrelid = ours.oid
union all
select 'constraint', name, case when contype <> 'n' then conname end, pg_get_constraintdef(pg_constraint.oid)
from ours inner join pg_constraint on conrelid = ours.oid
union all
select 'trigger', name, tgname, pg_get_triggerdef(pg_trigger.oid)
from ours inner join pg_trigger on tgrelid = ours.oid where not tgisinternal
union all
select 'parent', name, inhparent::regclass::text, '' from ours inner join pg_inherits on inhrelid = ours.oid
union all
select 'view', name, '', pg_get_viewdef(oid) from ours where relkind = 'v'
union all
select 'comment', coalesce(name, nspname), objsubid::text, description
from pg_description
left join ours on classoid = 'pg_class'::regclass and objoid = ours.oid and not relispartition
left join pg_namespace on classoid = 'pg_namespace'::regclass and objoid = pg_namespace.oid
where name is not null or nspname in ('login_etl', 'privacy')
union all
select 'schema', nspname, pg_get_userbyid(nspowner), nspacl::text
from pg_namespace where nspname in ('login_etl', 'privacy')
union all
select
    'function', pg_proc.oid::regprocedure::text, concat(pg_get_userbyid(proowner), proacl),
    pg_get_functiondef(pg_proc.oid)
from pg_proc where pronamespace = to_regnamespace('privacy')
union all
select 'ledger', name, sha256, '' from login_etl.schema_migrations
order by 1, 2, 3, 4
"""

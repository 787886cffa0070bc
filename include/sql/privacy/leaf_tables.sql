-- The tables that hold the rows of user_logins, and their pages; of one that is being dropped none.
with recursive tree as (
    select 'public.user_logins'::regclass::oid as relid
    union all
    select inhrelid from pg_inherits inner join tree on inhparent = relid
)

select
    nspname::text, relname::text,
    coalesce(pg_relation_size(pg_class.oid), 0) / current_setting('block_size')::bigint as pages
from tree
inner join pg_class on pg_class.oid = relid
inner join pg_namespace on pg_namespace.oid = relnamespace
where relkind = 'r'
order by nspname, relname

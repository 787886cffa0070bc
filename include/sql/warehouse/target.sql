-- What public.user_logins is, and what hangs on it. Of the catalogue only, since a function that looks at the table
-- itself, such as pg_partition_tree(), would wait for whoever has it locked.
with recursive tree as (
    select to_regclass('public.user_logins')::oid as relid
    union all
    select inhrelid from pg_inherits inner join tree on inhparent = relid
)

select
    relkind::text as kind,
    array(
        select leaf.oid::regclass::text from tree inner join pg_class as leaf on leaf.oid = relid
        where leaf.relpersistence = 'u'
    ) as unlogged,
    has_table_privilege(oid, 'insert') as may_insert,
    array(select rulename::text from pg_rewrite where ev_class = pg_class.oid and rulename <> '_RETURN') as rules,
    array(
        select inhrelid::regclass::text
        from pg_inherits
        where inhparent = pg_class.oid and relkind = 'r'
    ) as children,
    -- An expression has no name.
    array(
        select coalesce(attname::text, 'an expression')
        from pg_partitioned_table
        cross join unnest(partattrs::smallint[]) with ordinality as part (number, place)
        left join pg_attribute on attrelid = partrelid and attnum = number and number > 0
        where partrelid in (select relid from tree)
        group by attname
        order by min(place), attname
    ) as partitioned_by,
    array(
        select leaf.oid::regclass::text
        from tree
        inner join pg_class as leaf on leaf.oid = relid
        where leaf.relkind = 'f' and leaf.oid <> pg_class.oid
    ) as foreign_partitions
from pg_class
where oid = to_regclass('public.user_logins')

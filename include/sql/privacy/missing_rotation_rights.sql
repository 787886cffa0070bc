-- The statements that would give this role what a rotation needs, beyond what a run does. Of the catalogue only.
with recursive tree as (
    select to_regclass('public.user_logins')::oid as relid
    union all
    select inhrelid from pg_inherits inner join tree on inhparent = relid
)

select array(
    select format('grant temporary on database %I to %I', current_database(), current_user)
    where not has_database_privilege(current_database(), 'temporary')
    union all
    select format('grant select, update on %s to %I', pg_class.oid::regclass, current_user)
    from tree
    inner join pg_class on pg_class.oid = relid
    where
        relkind = 'r'
        and not (has_table_privilege(pg_class.oid, 'select') and has_table_privilege(pg_class.oid, 'update'))
)

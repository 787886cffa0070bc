-- Rows as the last analyze estimated them; bytes with indexes and TOAST.
select
    wanted.name,
    count(*) filter (where relkind = 'r') as tables,
    coalesce(sum(greatest(reltuples, 0)) filter (where relkind = 'r'), 0) as rows,
    sum(pg_total_relation_size(oid)) as bytes
from unnest(array[
    'public.user_logins', 'login_etl.staging_logins', 'login_etl.batches', 'login_etl.rejected_messages'
]) with ordinality as wanted (name, position)
inner join pg_class
    on oid = to_regclass(wanted.name) or oid in (select relid from pg_partition_tree(to_regclass(wanted.name)))
group by wanted.name, position
order by position

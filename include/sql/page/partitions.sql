-- The tables and their newest partitions that hold rows: rows as last estimated, bytes with indexes. Of the catalogue only.
with parents as (
    select name, position, to_regclass(name) as relid
    from unnest(array[
        'public.user_logins', 'login_etl.staging_logins', 'login_etl.batches', 'login_etl.rejected_messages',
        'login_etl.queue_depths'
    ]) with ordinality as wanted (name, position)
),

tables as (
    select name, position, relid, relid as part from parents where relid is not null
    union all
    select name, position, relid, inhrelid::regclass from parents inner join pg_inherits on inhparent = relid
),

sizes as (
    select
        name, position, part = relid as is_parent, pg_class.relname::text as part,
        -- Before it is analyzed a table has no estimate: -1, and 0 up to Postgres 13.
        case
            when relkind <> 'p' and (reltuples > 0 or pg_relation_size(part) = 0) then greatest(reltuples, 0)::bigint
        end as rows, pg_total_relation_size(part) as bytes,
        part <> relid and pg_relation_size(part) > 0 as is_shown,
        relkind = 'p' as is_split
    from tables
    inner join pg_class on pg_class.oid = part
)

select
    name, case when count(*) filter (where rows is null and not is_split) = 0 then sum(rows) end::bigint as rows, sum(bytes)::bigint as bytes, count(*) filter (where not is_parent) as parts,
    count(*) filter (where is_shown) as filled,
    (array_agg(part order by part desc) filter (where is_shown))[1:%(parts)s] as newest,
    (array_agg(rows order by part desc) filter (where is_shown))[1:%(parts)s] as newest_rows,
    (array_agg(bytes order by part desc) filter (where is_shown))[1:%(parts)s] as newest_bytes
from sizes
group by name, position
order by position

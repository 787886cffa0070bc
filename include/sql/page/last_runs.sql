-- The last runs with their sums: those that began last, and those that staged the last batches.
with named as (
    (
        select dag_id, run_id from login_etl.queue_depths order by observed_at desc limit %(runs)s
    )
    union
    select dag_id, run_id
    from (select dag_id, run_id from login_etl.batches order by batch_id desc limit 1000) as newest
)

select
    named.dag_id,
    named.run_id,
    coalesce(depth.observed_at, sums.began_at) as began_at,
    sums.source,
    depth.observed_at is not null and depth.queue is null as rebuilds,
    case when sums.source is distinct from 'dead_letter_queue' then depth.waiting end as waiting,
    coalesce(sums.batches, 0) as batches,
    sums.received, sums.inserted, sums.already_there, sums.rejected, sums.refused, sums.unmerged, sums.not_deleted,
    sums.tasks,
    (
        select sum(rows)
        from login_etl.rebuilds
        where rebuilds.run_id = named.run_id and rebuilds.dag_id = named.dag_id
    ) as rebuilt
from named
left join login_etl.queue_depths as depth on depth.dag_id = named.dag_id and depth.run_id = named.run_id
left join lateral (
    select
        min(source) as source,
        min(started_at) as began_at,
        count(*) as batches,
        sum(received) as received,
        sum(coalesce(inserted, 0)) as inserted,
        sum(coalesce(already_there, 0)) as already_there,
        sum(rejected) as rejected,
        sum(refused) as refused,
        count(*) filter (where merged_at is null) as unmerged,
        coalesce(sum(delete_failed + expired), 0) as not_deleted,
        array_agg(distinct map_index order by map_index) as tasks
    from login_etl.batches
    where batches.run_id = named.run_id and batches.dag_id is not distinct from named.dag_id
) as sums on true
order by began_at desc nulls last
limit %(runs)s

-- The counts of a range of time, in buckets of equal length from its start; lag in seconds, the worst of each.
select
    floor(date_part('epoch', staged_at - %(start)s) / %(seconds)s)::integer as bucket,
    sum(received) as received,
    coalesce(sum(inserted), 0) as inserted,
    coalesce(sum(already_there), 0) as already_there,
    sum(rejected) as rejected,
    sum(refused) as refused,
    coalesce(sum(staged - refused) filter (where merged_at is null), 0) as unmerged,
    max(date_part('epoch', merged_at - oldest_sent_at)) filter (where source = 'queue') as lag
from login_etl.batches
where staged_at >= %(start)s and staged_at < %(stop)s
group by 1
order by 1

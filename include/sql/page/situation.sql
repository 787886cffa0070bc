-- All that the verdict and the tiles are made of, in one row. Each part reads what an index leads to: the last day of
-- batches, the last week of runs, and what waits.
with settings as (
    select
        now() as now,
        now() - interval '1 day' as yesterday,
        now() - interval '1 hour' as an_hour_ago,
        date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' as midnight
),

-- The last run of each DAG that looked at a queue.
runs as (
    select distinct on (dag_id) dag_id, run_id, queue, waiting, in_flight, dead_letters, observed_at
    from login_etl.queue_depths
    where observed_at > now() - interval '7 days' and queue is not null
    order by dag_id, observed_at desc
),

depth as (
    select
        sum(waiting) as waiting,
        sum(in_flight) as in_flight,
        sum(dead_letters) as dead_letters,
        sum(greatest(waiting - (
            select coalesce(sum(received), 0)
            from login_etl.batches
            where batches.run_id = runs.run_id and batches.dag_id = runs.dag_id
        ), 0)) as left_waiting,
        max(observed_at) filter (where waiting is null and observed_at < now() - interval '2 minutes') as blind_since
    from runs
),

last_day as materialized (
    select
        *,
        date_part('epoch', merged_at - oldest_sent_at) as lag,
        received <> staged + rejected
        or (merged_at is not null and staged <> inserted + already_there + refused)
        or received <> deleted + expired + delete_failed as is_unbalanced
    from login_etl.batches, settings
    where staged_at >= least(yesterday, midnight)
),

today as (
    select
        coalesce(sum(inserted) filter (where staged_at >= midnight), 0) as inserted_today,
        coalesce(sum(rejected) filter (where staged_at >= midnight), 0) as rejected_today,
        coalesce(sum(received) filter (where staged_at >= midnight), 0) as received_today,
        coalesce(sum(received) filter (where staged_at >= an_hour_ago and source <> 'rejected_messages'), 0)
            as received_in_hour,
        coalesce(sum(rejected) filter (where staged_at >= an_hour_ago and source <> 'rejected_messages'), 0)
            as rejected_in_hour,
        coalesce(sum(delete_failed) filter (where staged_at >= an_hour_ago), 0) as not_deleted_in_hour,
        min(batch_id) filter (where is_unbalanced) as unbalanced_batch,
        max(staged_at) as last_staged_at,
        max(merged_at) as last_merged_at
    from last_day
),

-- Dead letters are old by nature, and what is replayed is, too.
lags as (
    select
        max(lag) filter (where merged_at > last_merged_at - interval '5 minutes') as lag,
        min(staged_at) filter (where staged_at > coalesce(last_in_time, '-infinity')) as behind_since
    from last_day
    cross join (
        select max(staged_at) filter (where lag <= %(behind)s) as last_in_time, max(merged_at) as last_merged_at
        from last_day
        where source = 'queue'
    ) as newest
    where source = 'queue' and merged_at is not null
),

unmerged as (
    select count(*) as unmerged, min(staged_at) as unmerged_since, min(oldest_sent_at) as oldest_unmerged
    from login_etl.batches
    where merged_at is null
),

stuck as (
    select batch_id as stuck_batch, staged_at as stuck_since, refusal
    from login_etl.batches
    where merged_at is null
    order by refusal is null, batch_id
    limit 1
),

refused as (
    select reason as refused_reason, (sum(count(*)) over ())::bigint as refused, min(staged_on) as refused_since
    from login_etl.refused_rows
    group by reason
    order by count(*) desc, reason
    limit 1
),

-- Of the two days that are checked; nobody corrects a result that is older.
checks as (
    select
        string_agg(ltrim(to_char(found, '999,999,999,999,999')) || ' ' || says, '; ' order by name) as failed_checks,
        min(checked_at) as checked_at
    from login_etl.data_checks, settings
    where not passed and checked_at > yesterday
),

rejected as (
    select reason as rejected_reason
    from login_etl.rejected_messages, settings
    where rejected_at >= an_hour_ago
    group by reason
    order by count(*) desc, reason
    limit 1
)

select
    now,
    current_database()::text as database,
    (select string_agg(distinct regexp_replace(queue, '^.*/', ''), ', ') from runs) as queues,
    least(
        (select min(observed_at) from login_etl.queue_depths),
        (select staged_at from login_etl.batches order by batch_id limit 1)
    ) as first_run_at,
    (select max(observed_at) from login_etl.queue_depths) as last_run_at,
    coalesce(last_staged_at, (select staged_at from login_etl.batches order by batch_id desc limit 1)) as last_staged_at,
    coalesce(last_merged_at, (
        select max(merged_at) from (select merged_at from login_etl.batches order by batch_id desc limit 100) as newest
    )) as last_merged_at,
    waiting::bigint, in_flight::bigint, dead_letters::bigint, left_waiting::bigint, blind_since,
    inserted_today::bigint, rejected_today::bigint, received_today::bigint,
    received_in_hour::bigint, rejected_in_hour::bigint, rejected_reason,
    not_deleted_in_hour::bigint, unbalanced_batch,
    lag, behind_since,
    unmerged, unmerged_since, oldest_unmerged, stuck_batch, stuck_since, refusal,
    coalesce(refused, 0) as refused, refused_reason, refused_since,
    failed_checks, checked_at,
    kid, since as kid_since, coalesce(is_complete, true) as is_complete
from settings
cross join depth
cross join today
cross join lags
cross join unmerged
cross join checks
left join stuck on true
left join refused on true
left join rejected on true
left join login_etl.masking on true

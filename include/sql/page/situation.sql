-- All that the verdict and the tiles are made of, in one row. Each part reads what an index leads to: the last day of
-- batches, the last week of runs, and what waits.
with settings as (
    select
        now() as now,
        now() - interval '1 day' as yesterday,
        now() - interval '1 hour' as an_hour_ago,
        date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' as midnight
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

-- Runs that looked at a queue, the newest of each DAG first. A DAG that has not run for a day while others have is taken
-- for removed.
looks as materialized (
    select
        *,
        row_number() over newest_first as place,
        lead(waiting is null) over newest_first as was_blind_before
    from (
        select *, max(observed_at) over () as newest
        from (select * from login_etl.queue_depths where queue is not null order by observed_at desc limit 2000) as newest
    ) as depths
    where observed_at > newest - interval '1 day'
    window newest_first as (partition by dag_id order by observed_at desc)
),

-- When each DAG was last heard of, and when it last staged what it found on its queue.
dags as (
    select
        looks.dag_id,
        looks.queue,
        greatest(looks.observed_at, max(last_day.staged_at), max(last_day.merged_at)) as last_sign_at,
        coalesce(max(last_day.staged_at) filter (where source = 'queue'), (
            select max(staged_at)
            from (select * from login_etl.batches order by batch_id desc limit 5000) as newest
            where newest.dag_id = looks.dag_id and newest.source = 'queue'
        )) as last_taken_at
    from looks
    left join last_day on last_day.dag_id = looks.dag_id
    where place = 1
    group by looks.dag_id, looks.queue, looks.observed_at
),

silent as (
    select dag_id as silent_dag, last_sign_at as silent_since from dags order by last_sign_at limit 1
),

-- The last run is blind, and is not just about to see, or the one before it was blind as well.
blind as (
    select dag_id as blind_dag, observed_at as blind_since
    from looks
    where place = 1 and waiting is null and (was_blind_before or observed_at < now() - interval '2 minutes')
    order by observed_at
    limit 1
),

-- What each DAG saw last on its queue; what it has taken of that since is not there any more.
seen as (
    select distinct on (dag_id)
        dag_id, waiting, in_flight, dead_letters,
        greatest(waiting - (
            select coalesce(sum(received), 0)
            from login_etl.batches
            where batches.run_id = looks.run_id and batches.dag_id = looks.dag_id and source = 'queue'
        ), 0) as left_waiting
    from looks
    where waiting is not null
    order by dag_id, observed_at desc
),

depth as (
    select
        sum(waiting) as waiting, sum(in_flight) as in_flight, sum(dead_letters) as dead_letters,
        sum(left_waiting) as left_waiting
    from seen
),

-- Messages wait, and none has been taken since.
stalled as (
    select dags.dag_id as stalled_dag, min(looks.observed_at) as stalled_since, max(seen.waiting) as stalled_messages
    from dags
    inner join seen on seen.dag_id = dags.dag_id and seen.waiting > 0
    inner join looks on looks.dag_id = dags.dag_id and looks.waiting > 0
    where looks.observed_at > coalesce(last_taken_at, '-infinity')
    group by dags.dag_id
    order by 2
    limit 1
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
        coalesce(sum(delete_failed + expired) filter (where staged_at >= an_hour_ago), 0) as not_deleted_in_hour,
        min(batch_id) filter (where is_unbalanced) as unbalanced_batch,
        max(staged_at) as last_staged_at,
        max(merged_at) as last_merged_at
    from last_day
),

-- Of what came from queues: dead letters are old by nature, and what is replayed is, too.
lags as (
    select
        dag_id,
        max(lag) filter (where merged_at > last_merged_at - interval '5 minutes') as lag,
        min(staged_at) filter (where staged_at > coalesce(last_in_time, '-infinity')) as behind_since
    from last_day
    inner join (
        select
            dag_id,
            max(staged_at) filter (where lag <= %(behind)s) as last_in_time,
            max(merged_at) as last_merged_at
        from last_day
        where source = 'queue'
        group by dag_id
    ) as newest using (dag_id)
    where source = 'queue' and merged_at is not null
    group by dag_id
),

behind as (
    select dag_id as behind_dag, lag as behind_by, behind_since, left_waiting as behind_messages
    from lags
    inner join seen using (dag_id)
    where lag > %(behind)s and left_waiting > 0
    order by lag desc
    limit 1
),

unmerged as (
    select count(*) as unmerged, min(oldest_sent_at) as oldest_unmerged
    from login_etl.batches
    where merged_at is null
),

refusing as (
    select batch_id as refusing_batch, staged_at as refusing_since, refusal
    from login_etl.batches
    where merged_at is null and refusal is not null
    order by batch_id
    limit 1
),

-- The run that staged it is over: a later one has begun, or nothing is staged any more.
stuck as (
    select batch_id as stuck_batch, staged_at as stuck_since
    from login_etl.batches
    where
        merged_at is null
        and refusal is null
        and (
            exists (
                select from looks
                where
                    looks.dag_id = batches.dag_id
                    and looks.run_id <> batches.run_id
                    and looks.observed_at > batches.staged_at
            )
            or not exists (select from last_day where staged_at > now() - interval '15 minutes')
        )
    order by batch_id
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
    (select string_agg(distinct regexp_replace(queue, '^.*/', ''), ', ') from dags) as queues,
    least(
        (select min(observed_at) from login_etl.queue_depths),
        (select staged_at from login_etl.batches order by batch_id limit 1)
    ) as first_run_at,
    (select max(observed_at) from login_etl.queue_depths) as last_run_at,
    coalesce(last_staged_at, (select staged_at from login_etl.batches order by batch_id desc limit 1)) as last_staged_at,
    coalesce(last_merged_at, (
        select max(merged_at) from (select merged_at from login_etl.batches order by batch_id desc limit 100) as newest
    )) as last_merged_at,
    silent_dag, silent_since,
    blind_dag, blind_since,
    stalled_dag, stalled_since, stalled_messages,
    waiting::bigint, in_flight::bigint, dead_letters::bigint, left_waiting::bigint,
    inserted_today::bigint, rejected_today::bigint, received_today::bigint,
    received_in_hour::bigint, rejected_in_hour::bigint, rejected_reason,
    not_deleted_in_hour::bigint, unbalanced_batch,
    (select max(lag) from lags) as lag,
    behind_dag, behind_by, behind_since, behind_messages::bigint,
    unmerged, oldest_unmerged, stuck_batch, stuck_since, refusing_batch, refusing_since, refusal,
    coalesce(refused, 0) as refused, refused_reason, refused_since,
    failed_checks, checked_at,
    kid, since as kid_since, coalesce(is_complete, true) as is_complete
from settings
cross join depth
cross join today
cross join unmerged
cross join checks
left join silent on true
left join blind on true
left join stalled on true
left join behind on true
left join refusing on true
left join stuck on true
left join refused on true
left join rejected on true
left join login_etl.masking on true

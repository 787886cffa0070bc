-- What Prometheus is told: a metric's name, the values of its labels, and its value. What login_etl.totals holds is read
-- there, and only the batches behind it are summed. All in one statement, so that it sees one state.
with counted as (
    select coalesce(max(up_to), 0) as up_to from login_etl.totals
),

by_dag as (
    select
        dag_id,
        sum(received) as received,
        sum(staged) as staged,
        sum(rejected) as rejected,
        sum(inserted) as inserted,
        sum(already_there) as already_there,
        sum(deleted) as deleted,
        sum(delete_failed) as delete_failed,
        sum(expired) as expired,
        sum(refused) as refused,
        max(merged_at) as merged_at,
        max(merged_at - sent_at) filter (where is_fresh and merged_at > now() - interval '15 minutes') as lag,
        min(sent_at) filter (where merged_at is null) as unmerged_sent_at,
        min(staged_at) filter (where merged_at is null) as unmerged_staged_at,
        min(staged_at) as since
    from (
        select
            dag_id, received, staged, rejected, inserted, already_there, deleted, delete_failed, expired, 0 as refused,
            merged_at, null as sent_at, null as staged_at, false as is_fresh
        from login_etl.totals
        union all
        select
            coalesce(dag_id, 'unknown'), received, staged, rejected, coalesce(inserted, 0), coalesce(already_there, 0),
            coalesce(deleted, 0), coalesce(delete_failed, 0), coalesce(expired, 0), refused, merged_at, oldest_sent_at,
            staged_at, source = 'queue'
        from login_etl.batches
        where batch_id > (select up_to from counted)
    ) as parts
    group by dag_id
),

-- Of messages whose bodies were forgotten and came again, the time is that of the last copy, but the batch that of the
-- first, as in the totals.
by_rule as (
    select
        coalesce(nullif(regexp_replace(split_part(rule, ': ', 1), '[^a-zA-Z0-9_.-]', '_', 'g'), ''), 'unknown') as field,
        coalesce(nullif(regexp_replace(split_part(rule, ': ', 2), '[^a-zA-Z0-9_.-]', '_', 'g'), ''), 'unknown') as rule,
        sum(messages) as messages
    from (
        select rule, messages from login_etl.rejected_totals
        union all
        select unnest(string_to_array(reason, '; ')), messages
        from (
            select reason, count(*) as messages
            from login_etl.rejected_messages
            where rejected_at >= (select min(since) from by_dag) and batch_id > (select up_to from counted)
            group by reason
        ) as by_reason
    ) as parts
    group by 1, 2
),

-- A DAG that has not run in the month before the last run of all is no more.
runs as (
    select dag_id, max(observed_at) as observed_at
    from login_etl.queue_depths
    where observed_at > (select max(observed_at) from login_etl.queue_depths) - interval '30 days'
    group by dag_id
),

-- A run that has just begun, or that asks no queue, hides what the one before it saw no more than a failure does.
depths as (
    select distinct on (dag_id) dag_id, waiting, in_flight, dead_letters
    from login_etl.queue_depths
    where waiting is not null and observed_at > now() - interval '1 hour'
    order by dag_id, observed_at desc
)

select name, array[dag_id] as labels, value::numeric as value
from by_dag
cross join lateral (
    values
    ('received_total', received),
    ('staged_total', staged),
    ('rejected_total', rejected),
    ('inserted_total', inserted),
    ('already_there_total', already_there),
    ('deleted_total', deleted),
    ('delete_failed_total', delete_failed),
    ('expired_total', expired),
    ('refused_rows', refused),
    ('lag_seconds', extract(epoch from lag)::numeric),
    ('oldest_unmerged_seconds', coalesce(extract(epoch from now() - unmerged_sent_at)::numeric, 0)),
    ('oldest_unmerged_batch_seconds', coalesce(extract(epoch from now() - unmerged_staged_at)::numeric, 0)),
    ('last_merge_timestamp_seconds', extract(epoch from merged_at)::numeric)
) as sample (name, value)
where value is not null
union all
select 'broken_rules_total', array[field, rule], messages from by_rule
union all
select 'last_run_timestamp_seconds', array[dag_id], extract(epoch from observed_at)::numeric from runs
union all
select name, array[dag_id], value
from depths
cross join lateral (
    values ('backlog_messages', waiting), ('in_flight_messages', in_flight), ('dead_letter_messages', dead_letters)
) as sample (name, value)
where value is not null
order by name, labels

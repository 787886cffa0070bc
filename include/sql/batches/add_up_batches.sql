-- Adds to the totals what is behind them, up to the first batch that something may still change: one that is not merged,
-- has refused rows, or was merged less than a day ago, so that its deletes may still be recorded.
with counted as (
    select coalesce(max(up_to), 0) as up_to from login_etl.totals
),

final as materialized (
    select *
    from login_etl.batches
    where
        batch_id > (select up_to from counted)
        and batch_id < coalesce(
            (
                select batch_id
                from login_etl.batches
                where
                    batch_id > (select up_to from counted)
                    and (merged_at is null or refused > 0 or merged_at > now() - interval '1 day')
                order by batch_id
                limit 1
            ),
            9223372036854775807
        )
),

of_rules as (
    insert into login_etl.rejected_totals as total (rule, messages)
    select unnest(string_to_array(reason, '; ')) as rule, sum(messages)
    from (
        select reason, count(*) as messages
        from login_etl.rejected_messages
        where rejected_at >= (select min(staged_at) from final) and batch_id in (select batch_id from final)
        group by reason
    ) as by_reason
    group by rule
    on conflict (rule) do update set messages = total.messages + excluded.messages
),

of_batches as (
    insert into login_etl.totals as total (
        dag_id, up_to, received, staged, rejected, inserted, already_there, deleted, delete_failed, expired, merged_at
    )
    select
        coalesce(dag_id, 'unknown'), max(batch_id), sum(received), sum(staged), sum(rejected), sum(inserted),
        sum(already_there), coalesce(sum(deleted), 0), coalesce(sum(delete_failed), 0), coalesce(sum(expired), 0),
        max(merged_at)
    from final
    group by 1
    on conflict (dag_id) do update set
        up_to = excluded.up_to,
        received = total.received + excluded.received,
        staged = total.staged + excluded.staged,
        rejected = total.rejected + excluded.rejected,
        inserted = total.inserted + excluded.inserted,
        already_there = total.already_there + excluded.already_there,
        deleted = total.deleted + excluded.deleted,
        delete_failed = total.delete_failed + excluded.delete_failed,
        expired = total.expired + excluded.expired,
        merged_at = greatest(total.merged_at, excluded.merged_at)
)

select count(*) from final

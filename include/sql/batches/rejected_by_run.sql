-- Why messages of a run were rejected, the commonest reason first. Those that had been rejected before are in the account
-- of the run that rejected them first.
with of_run as (
    select batch_id, started_at
    from login_etl.batches
    where run_id = %(run_id)s and (dag_id = %(dag_id)s or dag_id is null) and source = %(source)s and rejected > 0
)

select reason, count(*) as messages
from login_etl.rejected_messages
where
    -- Said twice, so that each side has an index of its own.
    (
        (sealed_body is not null and rejected_at >= (select min(started_at) from of_run))
        or (body_sha256 is not null and rejected_at >= (select min(started_at) from of_run))
    )
    and batch_id in (select batch_id from of_run)
group by reason
order by messages desc, reason
limit 5

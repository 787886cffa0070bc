-- Copies of a message in staging: those of batches that may have it, and those that were sent at that moment, too.
with first_found as (
    select batch_id, sent_at
    from login_etl.staging_logins
    where
        message_id = %(message_id)s
        and batch_id = any(
            %(batches)s::bigint[] || array(select batch_id from login_etl.batches where merged_at is null order by batch_id)
        )
)

select distinct copy.batch_id, copy.sent_at
from login_etl.staging_logins as copy
where copy.message_id = %(message_id)s and copy.sent_at in (select sent_at from first_found)
order by copy.batch_id

-- Batches, the newest first.
select
    batch_id, dag_id, run_id, map_index, try_number, source, kid, received, staged, rejected, inserted, already_there,
    refused, deleted, expired, delete_failed, oldest_sent_at, newest_sent_at, staged_at, merged_at, refusal
from login_etl.batches
where batch_id < %(before)s
order by batch_id desc
limit %(rows)s

-- How many of a batch's staged rows have text in `ip` that is no address, or a version that cannot be packed. Unknown of
-- batches of before.
alter table login_etl.batches
    add column unknown_addresses integer,
    add column unknown_versions integer;

-- With what 0011 brought, too: refused rows, the DAG and the queue.
create or replace view login_etl.history as
select
    run_id,
    source,
    min(started_at) as started_at,
    max(merged_at) as merged_at,
    count(*) as batches,
    count(merged_at) as merged_batches,
    sum(received) as received,
    sum(staged) as staged,
    sum(rejected) as rejected,
    coalesce(sum(inserted), 0) as inserted,
    coalesce(sum(already_there), 0) as already_there,
    coalesce(sum(deleted), 0) as deleted,
    coalesce(sum(expired), 0) as expired,
    coalesce(sum(delete_failed), 0) as delete_failed,
    coalesce(sum(received) filter (where deleted is null), 0) as deletes_unknown,
    array_agg(batch_id order by batch_id) filter (
        where
            received <> staged + rejected
            or staged <> inserted + already_there + refused
            or received <> deleted + expired + delete_failed
    ) as unbalanced_batches,
    sum(refused) as refused,
    dag_id,
    queue,
    sum(unknown_addresses) as unknown_addresses,
    sum(unknown_versions) as unknown_versions
from login_etl.batches
group by dag_id, run_id, source, queue;

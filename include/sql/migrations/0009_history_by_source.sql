-- Databases that applied the first form of 0005 have one row a run, whatever its sources.
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
            or staged <> inserted + already_there
            or received <> deleted + expired + delete_failed
    ) as unbalanced_batches
from login_etl.batches
group by run_id, source;

-- Batches of before migration 0011 do not know their DAG. `lost` of a batch that waits for its merge: rows that staging
-- does not have.
select
    batch_id, map_index, try_number, received, staged, rejected, inserted, already_there, refused, deleted, expired,
    delete_failed, unknown_addresses, unknown_versions,
    case
        when merged_at is null
            then staged - (
                select count(*) from login_etl.staging_logins where staging_logins.batch_id = batches.batch_id
            )
        else 0
    end as lost
from login_etl.batches
where run_id = %(run_id)s and (dag_id = %(dag_id)s or dag_id is null) and source = %(source)s
order by map_index, try_number, batch_id

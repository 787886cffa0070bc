select
    batch_id, map_index, try_number, received, staged, rejected, inserted, already_there, deleted, expired, delete_failed
from login_etl.batches
where run_id = %(run_id)s and source = %(source)s
order by map_index, try_number, batch_id

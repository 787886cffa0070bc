select
    batches, merged_batches, received, staged, rejected, inserted, already_there, deleted, expired, delete_failed,
    deletes_unknown, unbalanced_batches
from login_etl.history
where run_id = %(run_id)s

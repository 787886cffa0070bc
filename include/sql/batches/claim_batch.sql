-- No row where another merge was faster.
select staged, (staged_at at time zone 'UTC')::date as staged_on
from login_etl.batches
where batch_id = %(batch_id)s and merged_at is null
for update

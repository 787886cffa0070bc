-- No row where another merge was faster.
select staged, (staged_at at time zone 'UTC')::date as staged_on, merged_at is not null as merged, refused
from login_etl.batches
where batch_id = %(batch_id)s and (merged_at is null or refused > 0)
for update

select batch_id, (staged_at at time zone 'UTC')::date as staged_on
from login_etl.batches
where merged_at is null
order by batch_id
limit 1
for update

select batch_id, dag_id, run_id, map_index, source, staged_at, merged_at, refusal
from login_etl.batches
where batch_id = any(%(batches)s)
order by batch_id

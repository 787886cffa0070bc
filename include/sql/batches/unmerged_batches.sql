-- Those that were refused as a whole come last, each run in another order: a run tries only the first of them row by
-- row, unless that one can be loaded.
select batch_id, refused > 0 as refused
from login_etl.batches
where merged_at is null
order by refused > 0, case when refused > 0 then random() end, batch_id

update login_etl.batches
set refused = staged, merged_by = %(merged_by)s
where batch_id = %(batch_id)s and merged_at is null and refused = 0

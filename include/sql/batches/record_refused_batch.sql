-- The run that was the first to find it so stays; the reason may be another one now.
update login_etl.batches
set refused = staged, merged_by = coalesce(merged_by, %(merged_by)s), refusal = %(reason)s
where batch_id = %(batch_id)s and merged_at is null and (refused = 0 or refusal is distinct from %(reason)s)

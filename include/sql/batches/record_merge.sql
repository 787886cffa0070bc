update login_etl.batches
set
    inserted = coalesce(inserted, 0) + %(inserted)s,
    already_there = coalesce(already_there, 0) + %(already_there)s,
    refused = %(refused)s,
    refusal = null,
    merged_at = coalesce(merged_at, clock_timestamp()),
    merged_by = case when merged_at is null then %(merged_by)s else merged_by end
where batch_id = %(batch_id)s

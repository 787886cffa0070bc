update login_etl.batches
set inserted = %(inserted)s, already_there = %(already_there)s, merged_at = clock_timestamp()
where batch_id = %(batch_id)s

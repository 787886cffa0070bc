select batch_id from login_etl.batches where merged_at is null order by batch_id

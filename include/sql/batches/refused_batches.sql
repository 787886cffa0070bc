-- Merged batches with rows that user_logins refused, those first that were not tried for longest.
select batch_id from login_etl.refused_rows group by batch_id order by min(refused_at), batch_id

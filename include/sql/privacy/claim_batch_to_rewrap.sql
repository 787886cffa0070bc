-- Merges wait: they claim the row as well.
select 1 from login_etl.batches where batch_id = %(batch_id)s and kid = any(%(kids)s) for update

-- How many rows wait that this run was the first to find refused, and ranges that its rebuild left out.
select
    coalesce((select sum(refused) from login_etl.batches where merged_by = %(merged_by)s), 0)::bigint as rows,
    coalesce((
        select sum(refused) from login_etl.rebuilds where run_id = %(run_id)s and dag_id = %(dag_id)s
    ), 0)::bigint as ranges

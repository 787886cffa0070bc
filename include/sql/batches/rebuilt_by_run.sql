select coalesce(sum(rows), 0)::bigint from login_etl.rebuilds where run_id = %(run_id)s and dag_id = %(dag_id)s

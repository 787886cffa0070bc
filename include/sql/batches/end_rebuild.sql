update login_etl.rebuilds set ended_at = clock_timestamp() where rebuild_id = %(rebuild_id)s

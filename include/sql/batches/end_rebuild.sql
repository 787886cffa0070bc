update login_etl.rebuilds set ended_at = clock_timestamp(), refused = %(refused)s where rebuild_id = %(rebuild_id)s

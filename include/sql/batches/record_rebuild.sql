update login_etl.rebuilds set rows = rows + %(rows)s where rebuild_id = %(rebuild_id)s

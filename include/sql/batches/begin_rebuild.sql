insert into login_etl.rebuilds (run_id, sent_from, sent_to) values (%(run_id)s, %(start)s, %(stop)s)
returning rebuild_id

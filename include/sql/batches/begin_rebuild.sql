insert into login_etl.rebuilds (dag_id, run_id, sent_from, sent_to)
values (%(dag_id)s, %(run_id)s, %(start)s, %(stop)s)
returning rebuild_id

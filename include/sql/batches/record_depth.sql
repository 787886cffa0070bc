insert into login_etl.queue_depths (dag_id, run_id, queue, waiting, in_flight, dead_letters)
values (%(dag_id)s, %(run_id)s, %(queue)s, %(waiting)s, %(in_flight)s, %(dead_letters)s)
on conflict (dag_id, run_id) do update set
    queue = excluded.queue,
    waiting = excluded.waiting,
    in_flight = excluded.in_flight,
    dead_letters = excluded.dead_letters,
    observed_at = excluded.observed_at

-- What runs saw on their queues, in buckets of equal length; the deepest of each.
select
    floor(date_part('epoch', observed_at - %(start)s) / %(seconds)s)::integer as bucket,
    max(waiting) as waiting,
    max(dead_letters) as dead_letters
from login_etl.queue_depths
where observed_at >= %(start)s and observed_at < %(stop)s and queue is not null
group by 1
order by 1

-- How many messages were rejected for what, in buckets of equal length, and how many of them can be replayed.
select
    floor(date_part('epoch', rejected_at - %(start)s) / %(seconds)s)::integer as bucket,
    reason,
    count(*) as messages,
    count(sealed_body) as replayable
from login_etl.rejected_messages
where rejected_at >= %(start)s and rejected_at < %(stop)s
group by 1, 2
order by 1, 2

-- Of the last days, by the UTC day of their rejection: the sealed bodies that are still there, and their bytes.
select (rejected_at at time zone 'UTC')::date as day, count(*) as bodies, sum(octet_length(sealed_body)) as bytes
from login_etl.rejected_messages
where sealed_body is not null and rejected_at >= now() - make_interval(days => %(days)s)
group by day
order by day

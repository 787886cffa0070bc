-- What waits because user_logins refuses it: single rows by reason, and whole batches.
select reason, count(*) as rows, count(distinct batch_id) as batches
from login_etl.refused_rows
group by reason
union all
select 'whole batches', sum(staged), count(*)
from login_etl.batches
where merged_at is null and refused > 0
having count(*) > 0
order by rows desc, reason

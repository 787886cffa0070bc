-- In the order in which they are inserted.
select message_id
from login_etl.staging_logins
where
    batch_id = %(batch_id)s and staged_on = %(staged_on)s
    and message_id <> all(%(refused)s::uuid[])
group by message_id
order by min((sent_at at time zone 'UTC')::date), message_id

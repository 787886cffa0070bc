-- Ordered as the key's index is: inserts that overlap take their locks in one order, and neighbours are inserted
-- together. Only the same message is passed over: a conflict with another key that somebody has put on the table is
-- an error, not a lost login.
-- create_date is the UTC day on which the message was sent.
insert into public.user_logins (
    user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, message_id, batch_id
)
select
    user_id, device_type, masked_ip, masked_device_id, locale, app_version,
    (sent_at at time zone 'UTC')::date as create_date, message_id, batch_id
from login_etl.staging_logins
where
    batch_id = %(batch_id)s and staged_on = %(staged_on)s
    and (%(message_ids)s::uuid[] is null or message_id = any(%(message_ids)s::uuid[]))
    and message_id <> all(%(refused)s::uuid[])
order by create_date, message_id
on conflict (message_id, create_date) where message_id is not null do nothing

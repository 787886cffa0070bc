-- The logins of a day, in the order of its key; rows from before this project have no message id, and are left out.
select user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, message_id
from public.user_logins
where create_date = %(day)s and message_id > %(after)s
order by message_id
limit %(rows)s

-- What rotation has to do, or has left: rows of user_logins with a mask of these key ids, and between which days.
select count(*), min(create_date), max(create_date)
from public.user_logins
where left(masked_ip, 9) = any(%(prefixes)s) or left(masked_device_id, 9) = any(%(prefixes)s)

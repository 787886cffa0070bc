-- What rotation has to do, or has left: rows of user_logins with a mask of these key ids, and between which days.
select count(*), min(create_date), max(create_date)
from public.user_logins
where
    (
        (left(masked_ip, 9) = any(%(prefixes)s) and length(masked_ip) = 73 and masked_ip ~ '^[0-9a-f]+:[0-9a-f]+$')
        or (
            left(masked_device_id, 9) = any(%(prefixes)s)
            and length(masked_device_id) = 73 and masked_device_id ~ '^[0-9a-f]+:[0-9a-f]+$'
        )
    )

select ctid::text, masked_ip, masked_device_id
from {table} as stored
where
    {rows}
    and (
        (left(masked_ip, 9) = any(%(prefixes)s) and length(masked_ip) = 73 and masked_ip ~ '^[0-9a-f]+:[0-9a-f]+$')
        or (
            left(masked_device_id, 9) = any(%(prefixes)s)
            and length(masked_device_id) = 73 and masked_device_id ~ '^[0-9a-f]+:[0-9a-f]+$'
        )
    )
order by ctid
for update

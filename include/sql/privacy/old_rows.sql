select ctid::text, masked_ip, masked_device_id
from {table} as stored
where {rows} and (left(masked_ip, 9) = any(%(prefixes)s) or left(masked_device_id, 9) = any(%(prefixes)s))
order by ctid
for update

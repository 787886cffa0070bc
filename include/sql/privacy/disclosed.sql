select item, field, mask, stored, message_id, batch_id, sealed_key, sealed_ip, sealed_device_id
from privacy.disclosed(%(request_id)s, %(key_id)s)
order by item

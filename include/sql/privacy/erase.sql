select verdict, originals
from privacy.erase(%(erasure_id)s, %(counts)s::jsonb, %(until)s, %(message_ids)s::uuid[])

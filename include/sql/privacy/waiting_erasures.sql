select erasure_id, case_number, user_id, asked_at
from privacy.erasures
where done_at is null and (%(erasure_ids)s::bigint[] is null or erasure_id = any(%(erasure_ids)s::bigint[]))
order by erasure_id

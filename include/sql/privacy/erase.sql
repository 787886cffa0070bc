select privacy.erase(%(erasure_id)s, %(counts)s::jsonb)

select privacy.note(%(event)s, %(counts)s::jsonb)

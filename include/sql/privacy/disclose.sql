select privacy.disclose(%(request_id)s)

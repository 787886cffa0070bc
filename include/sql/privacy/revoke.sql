select privacy.revoke(%(request_id)s)

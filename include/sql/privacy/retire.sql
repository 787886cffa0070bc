select privacy.retire(%(key_id)s)

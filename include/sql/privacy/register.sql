select privacy.register(%(public_key)s)

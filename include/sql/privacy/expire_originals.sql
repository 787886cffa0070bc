select privacy.expire_originals()

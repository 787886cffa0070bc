select user_mask, erased_at from login_etl.erased_users where user_mask = any(%(masks)s)

select user_mask from login_etl.erased_users

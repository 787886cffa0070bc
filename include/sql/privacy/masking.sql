select kid, is_complete from login_etl.masking

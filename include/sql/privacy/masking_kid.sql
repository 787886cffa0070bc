select kid from login_etl.masking

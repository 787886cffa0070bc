select min(sent_at), max(sent_at) from login_etl.staging_logins

delete from login_etl.erased_users where erased_at < now() - make_interval(days => %(days)s)

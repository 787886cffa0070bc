select pg_advisory_xact_lock_shared(hashtextextended('login_etl.fence', 0))

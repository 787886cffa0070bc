select pg_advisory_xact_lock(hashtextextended(%(turn)s, 0))

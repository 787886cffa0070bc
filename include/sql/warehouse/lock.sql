select set_config('lock_timeout', %(patience)s, true), pg_advisory_xact_lock(hashtextextended(%(name)s, 0))

select set_config('lock_timeout', %(wait)s, true), pg_advisory_xact_lock(hashtextextended(%(turn)s, 0))

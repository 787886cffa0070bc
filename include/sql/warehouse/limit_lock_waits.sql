select set_config('lock_timeout', %(wait)s, true)

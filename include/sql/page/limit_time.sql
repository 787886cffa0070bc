select
    set_config('statement_timeout', %(limit)s, true),
    set_config('lock_timeout', %(limit)s, true),
    set_config('TimeZone', 'UTC', true)

select
    set_config('DateStyle', 'ISO, MDY', true),
    set_config('quote_all_identifiers', 'off', true),
    set_config('lock_timeout', %(lock_timeout)s, true),
    set_config('statement_timeout', %(statement_timeout)s, true),
    set_config(
        'synchronous_commit',
        case
            when %(durable)s and current_setting('synchronous_commit') <> 'remote_apply' then 'on'
            else current_setting('synchronous_commit')
        end,
        true
    )

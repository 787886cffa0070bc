-- Before Postgres 13 a hash keeps all groups in memory, however many there are; sorting takes as long.
select
    revision,
    set_config('statement_timeout', %(statement_timeout)s, true),
    set_config('enable_hashagg', 'off', true)
from login_etl.shared_counts

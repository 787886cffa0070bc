-- Held to the end of the transaction, so it works through PgBouncer in transaction mode.
select pg_advisory_xact_lock(hashtextextended(%(name)s, 0))

-- Asked of the catalogue, not of to_regclass(): that may answer from a cache filled before this transaction
-- waited for its lock.
select exists (select from pg_tables where schemaname = %(schema)s and tablename = 'schema_migrations')

"""What a set-up has made: columns, indexes, partitions, views and the ledger, in an order of its own."""

SCHEMA = """
select table_schema, table_name, column_name::text, data_type || is_nullable from information_schema.columns
where table_schema in ('public', 'login_etl')
union all
select schemaname, tablename, indexname, indexdef from pg_indexes where schemaname in ('public', 'login_etl')
union all
select 'partitions', inhparent::regclass::text, inhrelid::regclass::text, '' from pg_inherits
union all
select schemaname, viewname, '', definition from pg_views where schemaname = 'login_etl'
union all
select 'ledger', name, sha256, '' from login_etl.schema_migrations
order by 1, 2, 3, 4
"""

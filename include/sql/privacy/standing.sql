-- What of schema privacy is there for this login. Of the catalogue only.
select
    exists (select from pg_tables where schemaname = 'privacy' and tablename = 'schema_migrations') as is_installed,
    exists (select from pg_roles where rolname = session_user and rolsuper) as is_superuser,
    exists (
        select from pg_roles where rolname = 'privacy_owner' and pg_has_role(session_user, oid, 'member')
    ) as is_owner,
    exists (
        select from pg_roles where rolname = 'privacy_pipeline' and pg_has_role(session_user, oid, 'usage')
    ) as is_member

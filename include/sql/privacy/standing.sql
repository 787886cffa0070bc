-- What of schema privacy is there for this login. Of the catalogue only.
select
    exists (
        select
        from pg_class
        inner join pg_namespace on pg_namespace.oid = relnamespace
        where
            nspname = 'privacy' and relname = 'schema_migrations'
            and pg_get_userbyid(nspowner) = 'privacy_owner' and pg_get_userbyid(relowner) = 'privacy_owner'
    ) as is_installed,
    exists (select from pg_roles where rolname = session_user and rolsuper) as is_superuser,
    exists (select from pg_roles where rolname = session_user and rolcreaterole) as makes_roles,
    exists (
        select from pg_roles where rolname = 'privacy_owner' and pg_has_role(session_user, oid, 'member')
    ) as is_owner,
    exists (
        select from pg_roles where rolname = 'privacy_pipeline' and pg_has_role(session_user, oid, 'usage')
    ) as is_member

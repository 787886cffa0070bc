-- Where there is the view, and the group of analysts, and the right to grant, which the maintenance has. Asked of the
-- catalogue: to_regclass() is refused to whoever may not use the view's schema.
do $$
begin
    if exists (
        select
        from pg_class as view
        inner join pg_namespace as home on home.oid = relnamespace
        cross join pg_roles
        where
            nspname = 'login_etl' and relname = 'logins' and rolname = 'privacy_analyst'
            and not has_table_privilege(pg_roles.oid, view.oid, 'select')
            and pg_has_role(current_user, relowner, 'usage') and pg_has_role(current_user, nspowner, 'usage')
    ) then
        grant usage on schema login_etl to privacy_analyst;
        grant select on login_etl.logins to privacy_analyst;
    end if;
end $$;

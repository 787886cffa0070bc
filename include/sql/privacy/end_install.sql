reset role;

revoke privacy_owner from current_user;

-- As JSON, because before Postgres 16 each member can use the role. Who made it may grant it, from 16 on.
do $$
declare
    members text := (
        select string_agg(member::regrole::text, ', ')
        from pg_auth_members as each
        where
            roleid = 'privacy_owner'::regrole
            and (
                coalesce((to_jsonb(each) ->> 'set_option')::boolean, true)
                or coalesce((to_jsonb(each) ->> 'inherit_option')::boolean, true)
            )
    );
begin
    if members is not null then
        raise exception 'privacy_owner has members, who could rewrite the trail: revoke privacy_owner from %', members;
    end if;
    if exists (
        select from pg_roles
        where rolname = 'privacy_owner' and (rolcanlogin or rolsuper or rolcreaterole or rolbypassrls or rolreplication)
    ) then
        raise exception 'privacy_owner was there with other attributes: alter role privacy_owner nologin nosuperuser '
            'nocreaterole nobypassrls noreplication';
    end if;
end $$;

grant privacy_pipeline to {pipeline};

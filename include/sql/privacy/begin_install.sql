-- To be run by a DBA who may create roles, and schemas in this database; no superuser is needed. All of it is one
-- transaction. Nobody is a member of the owner once it is over. What is there already must be ours: whoever may create
-- schemas here could have made one, and functions in other schemas that look like those of Postgres.
set local search_path = pg_catalog, pg_temp;

do $$
declare
    name text;
begin
    if exists (
        select
        from (
            select nspowner as owner from pg_namespace where nspname = 'privacy'
            union all
            select relowner from pg_class where relnamespace = to_regnamespace('privacy')
            union all
            select proowner from pg_proc where pronamespace = to_regnamespace('privacy')
        ) as there
        where pg_get_userbyid(owner) <> 'privacy_owner'
    ) then
        raise exception 'schema privacy is there, and not all of it belongs to privacy_owner: drop or rename it first';
    end if;
    foreach name in array array[
        'privacy_owner', 'privacy_pipeline', 'privacy_officer', 'privacy_auditor', 'privacy_analyst'
    ] loop
        if not exists (select from pg_roles where rolname = name) then
            execute format('create role %I nologin', name);
        end if;
    end loop;
end $$;

grant privacy_owner to current_user;

create schema if not exists privacy authorization privacy_owner;

set local role privacy_owner;

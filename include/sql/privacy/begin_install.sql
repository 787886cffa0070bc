-- To be run by a DBA who may create roles, and schemas in this database; no superuser is needed. All of it is one
-- transaction. Nobody is a member of the owner once it is over.
do $$
declare
    name text;
begin
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

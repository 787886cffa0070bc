-- The statements that would give this role the rights that it lacks. Of the catalogue only, so that nothing waits.
with tables as (
    select
        pg_class.oid,
        pg_class.oid::regclass::text as name,
        pg_has_role(relowner, 'usage') as is_owned,
        -- An adopted user_logins gets no partitions of ours.
        relkind = 'p' and exists (
            select from pg_attribute where attrelid = pg_class.oid and attname = 'message_id' and attnotnull
        ) as gets_partitions
    from pg_class
    where
        pg_class.oid = to_regclass('public.user_logins')
        or (relnamespace = to_regnamespace('login_etl') and relkind in ('r', 'p', 'v') and not relispartition)
),

rights as (
    select 'create on database ' || quote_ident(current_database()) as name,
        to_regnamespace('login_etl') is not null or has_database_privilege(current_database(), 'create') as is_there
    union all
    select 'usage on schema public', has_schema_privilege('public', 'usage')
    union all
    select 'create on schema public',
        has_schema_privilege('public', 'create')
        or not (%(migrating)s or exists (select from tables where gets_partitions))
    union all
    select privilege || ' on schema login_etl', has_schema_privilege('login_etl', privilege)
    from unnest(array['usage', 'create']) as privilege
    where to_regnamespace('login_etl') is not null
    union all
    select privilege || ' on public.user_logins', has_table_privilege('public.user_logins', privilege)
    from unnest(array['select', 'insert', 'update']) as privilege
    where to_regclass('public.user_logins') is not null
)

select array(
    select format('grant %%s to %%I', name, current_user) from rights where not is_there
    union all
    select format('alter table %%s owner to %%I', name, current_user)
    from tables
    where not is_owned and (%(migrating)s or gets_partitions)
)

-- A publication sends updates and deletes only of tables whose rows something tells apart, and Postgres refuses them
-- otherwise. Staging has no key; a new user_logins gets its primary key here, one with rows in it from the maintenance,
-- partition by partition, since it takes too long for a migration.
do $$
declare
    partition regclass;
begin
    for partition in select inhrelid from pg_inherits where inhparent = 'login_etl.staging_logins'::regclass loop
        execute format('alter table %s replica identity full', partition);
    end loop;
    if exists (
        select from pg_partitioned_table
        where
            partrelid = to_regclass('public.user_logins')
            and partdefid = to_regclass('public.user_logins_default')
            and exists (select from pg_attribute where attrelid = partrelid and attname = 'message_id' and attnotnull)
    ) and not exists (select from public.user_logins) then
        alter table public.user_logins add primary key (create_date, message_id);
        drop index public.user_logins_key;
    end if;
end $$;

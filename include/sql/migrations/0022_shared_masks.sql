-- Who shares devices and addresses is counted once a day, and kept here, rather than computed whenever somebody looks.
create table login_etl.shared_masks (
    field text not null check (field in ('ip', 'device_id')),
    mask text collate "C" not null,
    users bigint not null,
    logins bigint not null,
    primary key (field, mask)
);

create index shared_masks_by_users on login_etl.shared_masks (field, users desc, logins desc, mask);

-- Whoever changes the summary, or erases somebody, raises the revision: a count that had begun before is not written.
create table login_etl.shared_counts (
    only_row boolean primary key default true check (only_row),
    counted_at timestamptz,
    revision bigint not null default 0
);

insert into login_etl.shared_counts default values;

comment on table login_etl.shared_masks is 'The masks that several users have, as maintain_user_logins has counted them';
comment on column login_etl.shared_masks.field is 'ip or device_id';
comment on column login_etl.shared_masks.mask is 'Mask of the address or the device id';
comment on column login_etl.shared_masks.users is 'How many users have it';
comment on column login_etl.shared_masks.logins is 'How many logins have it';
comment on table login_etl.shared_counts is 'As of when the shared masks are; one row';
comment on column login_etl.shared_counts.only_row is 'Always true: there is one row';
comment on column login_etl.shared_counts.counted_at is 'When the last count of them began; null before the first one';
comment on column login_etl.shared_counts.revision is 'Raised by each count and each erasure';

-- In the place of the views that were there, so that their rights and what depends on them stay: hence with the column's
-- type. One that was dropped is made again; what somebody has put in its place, with other columns, is left alone.
do $$
declare
    shared record;
    type_ text;
begin
    for shared in
        select *
        from (
            values
                ('shared_devices', 'masked_device_id', 'device_id', 'Devices', 'device id'),
                ('shared_addresses', 'masked_ip', 'ip', 'Addresses', 'address')
        ) as views (name, mask, field, things, thing)
    loop
        select
            format_type(atttypid, atttypmod)
            || coalesce((
                select format(' collate %I.%I', nspname, collname)
                from pg_collation inner join pg_namespace on pg_namespace.oid = collnamespace
                where pg_collation.oid = attcollation
            ), '')
        into type_
        from unnest(array['login_etl.' || shared.name, 'public.user_logins']) with ordinality as tables (name, position)
        inner join pg_attribute on attrelid = to_regclass(tables.name)
        where attname = shared.mask and not attisdropped
        order by position
        limit 1;

        begin
            execute format(
                'create or replace view login_etl.%I as select mask::%s as %I, users, logins '
                'from login_etl.shared_masks where field = %L order by users desc, logins desc, shared_masks.mask',
                shared.name, coalesce(type_, 'varchar(256)'), shared.mask, shared.field
            );
            execute format(
                'comment on view login_etl.%I is %L',
                shared.name, shared.things || ' that several users have, the most shared first, as of the last count'
            );
            execute format(
                'comment on column login_etl.%I.%I is %L', shared.name, shared.mask, 'Mask of the ' || shared.thing
            );
            execute format('comment on column login_etl.%I.users is %L', shared.name, 'How many users have it');
            execute format('comment on column login_etl.%I.logins is %L', shared.name, 'How many logins have it');
        exception
            when invalid_table_definition or wrong_object_type or insufficient_privilege then
                raise notice 'login_etl.% is somebody else''s, and stays as it is', shared.name;
        end;
    end loop;
end $$;

-- A table that is there already is adopted: it gains two columns, and its rows keep nulls in them.
do $$
begin
    if to_regclass('public.user_logins') is null then
        create table public.user_logins (
            user_id varchar(128),
            device_type varchar(32),
            masked_ip varchar(256),
            masked_device_id varchar(256),
            locale varchar(32),
            app_version integer,
            create_date date,
            message_id uuid not null,
            batch_id bigint not null
        ) partition by range (create_date);
        -- Catches what no month's partition does, so that no date can fail a merge.
        create table public.user_logins_default partition of public.user_logins default;
    else
        alter table public.user_logins
            add column if not exists message_id uuid,
            add column if not exists batch_id bigint;
    end if;
end $$;

create unique index if not exists user_logins_message_key on public.user_logins (message_id, create_date);

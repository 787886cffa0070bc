-- The oldest copy of a message wins, as it did in the merge. Rows that are right are not touched, and batches that
-- are not merged yet are left to the merge, as are rows that the table refused.
-- Astray is what a trigger has discarded, or stored under another key.
with wanted as materialized (
    select distinct on (message_id, create_date)
        user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, message_id, batch_id
    from (
        select *, (sent_at at time zone 'UTC')::date as create_date
        from login_etl.staging_logins
        where
            sent_at >= %(start)s and sent_at < %(stop)s
            and batch_id in (select batch_id from login_etl.batches where merged_at is not null)
            and not exists (
                select from login_etl.refused_rows
                where
                    refused_rows.batch_id = staging_logins.batch_id
                    and refused_rows.message_id = staging_logins.message_id
            )
    ) as staged
    order by message_id, create_date, batch_id
),

written as (
    insert into public.user_logins as present (
        user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, message_id, batch_id
    )
    select * from wanted
    on conflict (message_id, create_date) where message_id is not null do update set
        user_id = excluded.user_id,
        device_type = excluded.device_type,
        masked_ip = excluded.masked_ip,
        masked_device_id = excluded.masked_device_id,
        locale = excluded.locale,
        app_version = excluded.app_version
    where (
        present.user_id, present.device_type, present.masked_ip, present.masked_device_id, present.locale,
        present.app_version
    ) is distinct from (
        excluded.user_id, excluded.device_type, excluded.masked_ip, excluded.masked_device_id, excluded.locale,
        excluded.app_version
    )
    returning present.message_id, present.create_date
)

select
    (select count(*) from written) as rows,
    (
        select count(*)
        from written
        where not exists (
            select from wanted
            where wanted.message_id = written.message_id and wanted.create_date = written.create_date
        )
    ) + (
        select count(*)
        from wanted
        where
            not exists (
                select from written
                where written.message_id = wanted.message_id and written.create_date = wanted.create_date
            )
            and not exists (
                select from public.user_logins as present
                where present.message_id = wanted.message_id and present.create_date = wanted.create_date
            )
    ) as astray

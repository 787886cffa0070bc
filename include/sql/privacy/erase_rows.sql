-- By the user id, and by the messages that are theirs in the other table: somebody may have changed a user id in one.
-- Rows that were there before this project have no message. What was sent later stays: staging has the time, and of
-- what staging has no more, user_logins the day. Each table in two updates: a condition with OR would look each row up
-- in the list of messages. What stays is what a trigger has put back. Shared masks that change with it are returned: of
-- either table, and of an older key, which the summary has until a rotation is over, while the rows have theirs anew.
with of_staging as materialized (
    select message_id, sent_at, masked_ip, masked_device_id
    from login_etl.staging_logins
    where user_id = %(user_id)s
),

of_table as materialized (
    select message_id, create_date, masked_ip, masked_device_id from public.user_logins where user_id = %(user_id)s
),

theirs as materialized (
    (
        select message_id
        from of_table
        where
            message_id is not null
            and (create_date is null or create_date <= (%(until)s at time zone 'UTC')::date)
        union
        select message_id from of_staging
    )
    except
    select message_id from of_staging where sent_at > %(until)s
),

stored as (
    update public.user_logins
    set user_id = null, masked_ip = null, masked_device_id = null
    where message_id in (select message_id from theirs)
    returning num_nonnulls(user_id, masked_ip, masked_device_id) > 0 as stays
),

of_before as (
    update public.user_logins
    set user_id = null, masked_ip = null, masked_device_id = null
    where user_id = %(user_id)s and message_id is null
    returning num_nonnulls(user_id, masked_ip, masked_device_id) > 0 as stays
),

staged as (
    update login_etl.staging_logins
    set user_id = null, masked_ip = null, masked_device_id = null
    where message_id in (select message_id from theirs)
    returning num_nonnulls(user_id, masked_ip, masked_device_id) > 0 as stays
)

select
    (select count(*) from stored) + (select count(*) from of_before) as user_logins,
    (select count(*) from staged) as staging,
    (select coalesce(array_agg(message_id), '{}') from theirs) as message_ids,
    (select count(*) from (table stored union all table of_before union all table staged) as every where stays) as stays,
    array(
        select mask
        from login_etl.shared_masks
        inner join (
            select unnest(array[masked_ip, masked_device_id]) as mask from of_table
            union
            select unnest(array[masked_ip, masked_device_id]) from of_staging
        ) as of_person using (mask)
        union
        select mask
        from login_etl.shared_masks
        inner join login_etl.masking on kid <> left(mask, 8)
        where length(mask) = 73 and mask ~ '^[0-9a-f]+:[0-9a-f]+$'
    ) as shared_masks

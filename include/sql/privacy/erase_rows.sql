-- By the user id, and by the messages that are theirs in the other table: somebody may have changed a user id in one.
-- Rows that were there before this project have no message. What was sent later stays.
with of_staging as materialized (
    select message_id, sent_at from login_etl.staging_logins where user_id = %(user_id)s
),

theirs as materialized (
    (
        select message_id from public.user_logins where user_id = %(user_id)s and message_id is not null
        union
        select message_id from of_staging
    )
    except
    select message_id from of_staging where sent_at > %(until)s
),

stored as (
    update public.user_logins
    set user_id = null, masked_ip = null, masked_device_id = null
    where
        message_id in (select message_id from theirs)
        or (user_id = %(user_id)s and message_id is null)
    returning 1
),

staged as (
    update login_etl.staging_logins
    set user_id = null, masked_ip = null, masked_device_id = null
    where message_id in (select message_id from theirs)
    returning 1
)

select (select count(*) from stored) as user_logins, (select count(*) from staged) as staging

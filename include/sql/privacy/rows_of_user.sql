-- Rows that have the user id, but for what was sent later; of that, user_logins has the day only, and staging the time.
with later as (
    select message_id from login_etl.staging_logins where user_id = %(user_id)s and sent_at > %(until)s
)

select
    (
        select count(*)
        from public.user_logins
        where
            user_id = %(user_id)s
            and not exists (select from later where later.message_id = user_logins.message_id)
    ) as user_logins,
    (select count(*) from login_etl.staging_logins where user_id = %(user_id)s and sent_at <= %(until)s) as staging

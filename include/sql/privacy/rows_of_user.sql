-- Rows that have the user id, but for what was sent later; of that, user_logins has the day only, and staging the time.
with of_staging as materialized (
    select message_id, sent_at from login_etl.staging_logins where user_id = %(user_id)s
)

select
    (
        select count(*)
        from public.user_logins
        where
            user_id = %(user_id)s
            and (create_date is null or create_date <= (%(until)s at time zone 'UTC')::date)
            and not exists (
                select from of_staging
                where of_staging.message_id = user_logins.message_id and sent_at > %(until)s
            )
    ) as user_logins,
    (select count(*) from of_staging where sent_at <= %(until)s) as staging

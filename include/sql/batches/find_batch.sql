-- How many rows of a batch staging has, and how many of their messages are in user_logins.
select
    count(*) as rows,
    count(*) filter (
        where exists (
            select from public.user_logins
            where
                user_logins.create_date = (staging_logins.sent_at at time zone 'UTC')::date
                and user_logins.message_id = staging_logins.message_id
        )
    ) as found
from login_etl.staging_logins
where batch_id = %(batch_id)s and staged_on = %(staged_on)s

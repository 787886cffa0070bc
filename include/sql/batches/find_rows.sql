-- Of these rows in staging: how many are in user_logins, under how many keys, how many are refused, and which messages
-- are neither.
select
    count(*) filter (where stored and not refused) as rows,
    count(distinct message_id) filter (where stored and not refused) as keys,
    count(*) filter (where refused) as left_out,
    coalesce(array_agg(distinct message_id) filter (where not stored and not refused), '{}') as missing
from (
    select
        message_id,
        message_id = any(%(refused)s::uuid[]) as refused,
        exists (
            select from public.user_logins
            where
                user_logins.create_date = (staging_logins.sent_at at time zone 'UTC')::date
                and user_logins.message_id = staging_logins.message_id
        ) as stored
    from login_etl.staging_logins
    where
        batch_id = %(batch_id)s and staged_on = %(staged_on)s
        and (%(message_ids)s::uuid[] is null or message_id = any(%(message_ids)s::uuid[]))
) as batch

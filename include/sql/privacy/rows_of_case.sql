-- What is stored of the person that a case is about, newest first; at most so many rows.
select message_id, to_jsonb(logins) - 'message_id' as stored
from (
    select
        user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, message_id
    from public.user_logins
    where user_id = (select user_id from privacy.accesses where case_number = %(case_number)s and ended_at is null)
    order by create_date desc nulls last, message_id
    limit %(rows)s
) as logins

-- For each of these masks the newest messages that have it, at most so many: of one or the other an original may be left.
with found as (
    select 'ip' as field, masked_ip as mask, message_id, create_date, batch_id
    from public.user_logins
    where masked_ip = any(%(masks)s) and message_id is not null
    union all
    select 'device_id', masked_device_id, message_id, create_date, batch_id
    from public.user_logins
    where masked_device_id = any(%(masks)s) and message_id is not null
),

numbered as (
    select
        *,
        row_number() over (
            partition by field, mask order by create_date desc nulls last, batch_id desc nulls last, message_id
        ) as candidate
    from found
)

select dense_rank() over (order by field, mask) as item, candidate, field, mask, message_id
from numbered
where candidate <= %(candidates)s
order by item, candidate

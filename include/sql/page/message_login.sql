-- A message in user_logins, by its key: each day that there is, since the key begins with it.
with days as (
    select array(
        select newest - number
        from (
            select min(create_date) as oldest, max(create_date) as newest
            from public.user_logins
            where message_id is not null
        ) as range,
        generate_series(0, least(newest - oldest, 3650)) as number
    ) as every
)

select create_date, batch_id, user_id is null as is_erased
from public.user_logins
where message_id = %(message_id)s and create_date = any((select every from days)::date[])

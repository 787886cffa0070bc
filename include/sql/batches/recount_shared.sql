-- Some masks of the summary as user_logins has them now: counts change, and what no two users have any more is gone.
with masks as materialized (
    select unnest(%(masks)s::text[]) as mask
),

of_users as (
    select 'ip' as field, masked_ip as mask, user_id, count(*) as logins
    from public.user_logins
    where masked_ip in (select mask from masks)
    group by masked_ip, user_id
    union all
    select 'device_id' as field, masked_device_id as mask, user_id, count(*) as logins
    from public.user_logins
    where masked_device_id in (select mask from masks)
    group by masked_device_id, user_id
),

counted as materialized (
    select field, mask, count(user_id) as users, sum(logins)::bigint as logins
    from of_users
    group by field, mask
    having count(user_id) > 1
),

gone as (
    delete from login_etl.shared_masks as kept
    where
        mask in (select mask from masks)
        and not exists (select from counted where counted.field = kept.field and counted.mask = kept.mask)
)

update login_etl.shared_masks as kept
set users = counted.users, logins = counted.logins
from counted
where kept.field = counted.field and kept.mask = counted.mask

-- Grouped by user first, which is much less work than count(distinct). Collation "C" groups the same, and sorts fastest.
-- What is longer is no mask, and would not go into an index.
create temporary table counted_masks on commit drop as
select 'ip' as field, mask, count(user_id) as users, sum(logins)::bigint as logins
from (
    select masked_ip collate "C" as mask, user_id collate "C" as user_id, count(*) as logins
    from public.user_logins
    where length(masked_ip) <= 256
    group by 1, 2
) as of_users
group by mask
having count(user_id) > 1
union all
select 'device_id' as field, mask, count(user_id) as users, sum(logins)::bigint as logins
from (
    select masked_device_id collate "C" as mask, user_id collate "C" as user_id, count(*) as logins
    from public.user_logins
    where length(masked_device_id) <= 256
    group by 1, 2
) as of_users
group by mask
having count(user_id) > 1

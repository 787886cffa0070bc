-- Rows of user_logins, batches and sealed bodies by their key id; of rows by that of the device id, else of the address.
-- Null is what has no mask of ours: no mask at all, or one that somebody else made.
with counts as (
    select case when length(mask) = 73 and mask ~ '^[0-9a-f]{8}:[0-9a-f]+$' then left(mask, 8) end as kid, count(*) as rows, 0 as batches,
        0 as bodies
    from (select coalesce(masked_device_id, masked_ip) as mask from public.user_logins) as masks
    group by 1
    union all
    select kid, 0, count(*), 0 from login_etl.batches group by kid
    union all
    select kid, 0, 0, count(*) from login_etl.rejected_messages where sealed_body is not null group by kid
)

select kid, sum(rows)::bigint as rows, sum(batches)::bigint as batches, sum(bodies)::bigint as bodies
from counts
group by kid
order by kid

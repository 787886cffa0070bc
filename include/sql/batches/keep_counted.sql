-- Only what differs is written: most stays the same from day to day.
with gone as (
    delete from login_etl.shared_masks as kept
    where not exists (
        select from pg_temp.counted_masks as counted where counted.field = kept.field and counted.mask = kept.mask
    )
),

written as (
    insert into login_etl.shared_masks as kept (field, mask, users, logins)
    select field, mask, counted.users, counted.logins
    from pg_temp.counted_masks as counted
    left join login_etl.shared_masks as before using (field, mask)
    where before.users is distinct from counted.users or before.logins is distinct from counted.logins
    on conflict (field, mask) do update set users = excluded.users, logins = excluded.logins
)

select
    count(*) filter (where field = 'device_id') as devices,
    count(*) filter (where field = 'ip') as addresses
from pg_temp.counted_masks

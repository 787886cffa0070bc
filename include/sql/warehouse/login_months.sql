-- Months of user_logins that are exactly ours, by name and bounds, and how many whole months ago each was.
select relname as name, bounds[1] as start, bounds[2] as stop, (
    extract(year from today) * 12 + extract(month from today)
    - extract(year from bounds[1]) * 12 - extract(month from bounds[1])
)::integer as age
from pg_inherits
inner join pg_class on pg_class.oid = inhrelid
cross join lateral (
    select regexp_match(pg_get_expr(relpartbound, pg_class.oid), $$FROM \('(.*)'\) TO \('(.*)'\)$$)::date[]
    -- Evaluated once: of a partition that is dropped meanwhile, pg_get_expr() knows the bounds at first, and then does not.
    offset 0
) as bound (bounds)
cross join (select (now() at time zone 'UTC')::date as today) as clock
where
    inhparent = to_regclass('public.user_logins')
    and relnamespace = 'public'::regnamespace
    and bounds[2] = (bounds[1] + interval '1 month')::date
    and relname = 'user_logins_' || to_char(bounds[1], 'YYYY_MM')
order by start

-- Name, bounds and schema must all be what they are when we make one: what somebody else has attached is not ours.
select relname as name, bounds[1] as day, (now() at time zone 'UTC')::date - bounds[1] as age
from pg_inherits
inner join pg_class on pg_class.oid = inhrelid
cross join lateral (
    select regexp_match(pg_get_expr(relpartbound, pg_class.oid), $$FROM \('(.*)'\) TO \('(.*)'\)$$)::date[]
    -- Evaluated once: of a partition that is dropped meanwhile, pg_get_expr() knows the bounds at first, and then does not.
    offset 0
) as bound (bounds)
where
    inhparent = 'login_etl.staging_logins'::regclass
    and relnamespace = 'login_etl'::regnamespace
    and bounds[2] = bounds[1] + 1
    and relname = 'staging_logins_' || to_char(bounds[1], 'YYYY_MM_DD')
order by day

-- Triggers of somebody's that run before a row is inserted, and may change or discard it: bits 2 and 4 of tgtype.
select array(
    select tgname::text
    from pg_trigger
    where
        tgrelid = to_regclass('public.user_logins') and not tgisinternal and tgenabled <> 'D'
        and tgtype & 1 = 1 and tgtype & 2 = 2 and tgtype & 4 = 4
    order by tgname
)

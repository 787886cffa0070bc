-- Whether somebody's trigger may change or discard what is inserted into user_logins.
select exists (
    select from pg_trigger
    where
        not tgisinternal
        and (
            tgrelid = to_regclass('public.user_logins')
            or tgrelid in (select relid from pg_partition_tree(to_regclass('public.user_logins')))
        )
)

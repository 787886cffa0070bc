-- Of the names of our keys those that something else has: anything but a unique index of the key's columns, on user_logins.
select array(
    select pg_class.oid::regclass::text
    from pg_class
    left join pg_index on indexrelid = pg_class.oid
    where
        relnamespace = 'public'::regnamespace
        and relname in ('user_logins_key', 'user_logins_message_key', 'user_logins_new_key')
        and not coalesce(
            indrelid = to_regclass('public.user_logins')
            and indisunique and indimmediate
            and array(
                select attname::text
                from unnest(indkey::smallint[]) as part (number)
                inner join pg_attribute on attrelid = indrelid and attnum = number
                order by attname
            ) = '{create_date, message_id}',
            false
        )
    order by relname
)

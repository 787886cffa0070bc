select
    relkind::text as kind,
    exists (
        select from pg_index
        where
            indrelid = pg_class.oid and indisunique and indisvalid and indpred is null and indnkeyatts = 2
            and (
                select array_agg(attname::text order by attname)
                from pg_attribute
                where attrelid = indrelid and attnum = any(indkey)
            ) = '{create_date,message_id}'
    ) as unique_key,
    has_table_privilege(pg_class.oid, 'insert') as may_insert
from pg_class
where oid = to_regclass('public.user_logins')

select
    attname as name,
    atttypid::regtype::text as type,
    case when atttypmod > 4 then atttypmod - 4 end as length,
    attnotnull as not_null,
    attgenerated <> '' or attidentity = 'a' as generated,
    atthasdef or attidentity <> '' as has_default
from pg_attribute
where attrelid = to_regclass('public.user_logins') and attnum > 0 and not attisdropped
order by attnum

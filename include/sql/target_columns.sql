select
    attname as name,
    atttypid::regtype::text as type,
    case when atttypmod > 4 then atttypmod - 4 end as length,
    attnotnull and not atthasdef and attidentity = '' as required
from pg_attribute
where attrelid = to_regclass('public.user_logins') and attnum > 0 and not attisdropped

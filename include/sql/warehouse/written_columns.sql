-- The columns of user_logins that are not generated, whoever has added them.
select attname::text
from pg_attribute
where attrelid = to_regclass('public.user_logins') and attnum > 0 and not attisdropped and attgenerated = ''
order by attnum

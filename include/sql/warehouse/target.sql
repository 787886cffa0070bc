select relkind::text as kind, has_table_privilege(oid, 'insert') as may_insert
from pg_class
where oid = to_regclass('public.user_logins')

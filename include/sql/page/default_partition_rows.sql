-- Up to a thousand are counted: none are expected.
select 'default_partition_rows', '{}'::text[], count(*)::numeric
from (select from public.user_logins_default limit 1000) as rows

-- The table's unique keys: their columns in alphabetical order, and whether a default fills one of them in.
select
    indexrelid::regclass::text as name,
    array_agg(attname::text order by attname) as columns,
    bool_or(atthasdef or attidentity <> '') as generated,
    indisvalid and indpred is null as whole
from pg_index
inner join pg_attribute on attrelid = indrelid and attnum = any(indkey)
where indrelid = to_regclass('public.user_logins') and indisunique
group by indexrelid, indisvalid, indpred

-- The table's unique keys and exclusion constraints: their columns in alphabetical order, of which an expression has no
-- name, whether a default fills one of them in, and whether an insert can rely on them. Of partial ones that is ours, by
-- its name: pg_get_expr() would wait for whoever has the table locked.
select
    indexrelid::regclass::text as name,
    array_agg(coalesce(attname::text, 'an expression') order by attname) as columns,
    coalesce(bool_or(atthasdef or attidentity <> ''), false) as generated,
    indisvalid and indimmediate and not indisexclusion
    and (indpred is null or indexrelid = to_regclass('public.user_logins_key')) as reliable
from pg_index
cross join unnest((indkey::smallint[])[0:indnkeyatts - 1]) as part (number)
left join pg_attribute on attrelid = indrelid and attnum = number and number > 0
where indrelid = to_regclass('public.user_logins') and (indisunique or indisexclusion)
group by indexrelid, indrelid, indisvalid, indimmediate, indisexclusion, indpred

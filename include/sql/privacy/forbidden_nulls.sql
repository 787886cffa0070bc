-- The columns, of those that an erasure clears, that public.user_logins or a part of it has as not null; and whether its
-- primary key has one of them.
with recursive tree as (
    select to_regclass('public.user_logins')::oid as relid
    union all
    select inhrelid from pg_inherits inner join tree on inhparent = relid
)

select array_agg(distinct attname::text), coalesce(bool_or(indexrelid is not null), false)
from tree
inner join pg_attribute on attrelid = relid
left join pg_index on indrelid = relid and indisprimary and attnum = any(indkey)
where attname in ('user_id', 'masked_ip', 'masked_device_id') and attnotnull and not attisdropped

-- The tables behind public.user_logins of which a publication sends updates or deletes, though nothing tells their rows
-- apart: Postgres refuses both then.
with recursive tree as (
    select to_regclass('public.user_logins')::oid as relid
    union all
    select inhrelid from pg_inherits inner join tree on inhparent = relid
)

select array(
    select leaf.oid::regclass::text
    from pg_class as leaf
    where
        leaf.relkind = 'r'
        and leaf.oid in (select relid from tree)
        and case relreplident
            when 'f' then false
            when 'i' then not exists (select from pg_index where indrelid = leaf.oid and indisreplident)
            when 'd' then not exists (select from pg_index where indrelid = leaf.oid and indisprimary)
            else true
        end
        and exists (
            select from pg_publication
            where
                (pubupdate or pubdelete)
                and (
                    puballtables
                    or exists (
                        select from pg_publication_tables
                        inner join pg_namespace on nspname = schemaname
                        inner join pg_class as published
                            on published.relname = tablename and published.relnamespace = pg_namespace.oid
                        where
                            pg_publication_tables.pubname = pg_publication.pubname
                            and published.oid in (select relid from tree)
                            and (published.relkind = 'p' or published.oid = leaf.oid)
                    )
                )
        )
    order by leaf.oid::regclass::text
)

select exists (
    select from pg_attribute
    where attrelid = format('%%I.schema_migrations', %(schema)s::text)::regclass and attname = 'sha256' and not attisdropped
)

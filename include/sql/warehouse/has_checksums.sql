select exists (
    select from pg_attribute
    where attrelid = 'login_etl.schema_migrations'::regclass and attname = 'sha256' and not attisdropped
)

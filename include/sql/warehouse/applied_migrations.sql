select version from login_etl.schema_migrations

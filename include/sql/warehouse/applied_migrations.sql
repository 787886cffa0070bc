-- As JSON, because a ledger of before 0008 has no sha256.
select version, to_jsonb(schema_migrations) ->> 'sha256' as sha256 from {schema}.schema_migrations

-- Of this migration, and of those that were applied before the ledger kept them.
update login_etl.schema_migrations
set sha256 = file.sha256
from unnest(%(versions)s::integer[], %(checksums)s::text[]) as file (version, sha256)
where schema_migrations.version = file.version and schema_migrations.sha256 is null

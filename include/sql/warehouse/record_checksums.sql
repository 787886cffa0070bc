-- Of this migration, and of those that were applied before the ledger kept them.
update {schema}.schema_migrations as ledger
set sha256 = file.sha256
from unnest(%(versions)s::integer[], %(checksums)s::text[]) as file (version, sha256)
where ledger.version = file.version and ledger.sha256 is null

-- The database says which key the masks are made with, and whether there are tombstones and a vault. No row where it does
-- not know the key yet.
insert into login_etl.batches (
    dag_id, run_id, map_index, try_number, source, queue, kid, received, staged, rejected, unknown_addresses,
    unknown_versions, oldest_sent_at, newest_sent_at, started_at
)
select
    %(dag_id)s, %(run_id)s, %(map_index)s, %(try_number)s, %(source)s, %(queue)s, masking.kid, %(received)s, %(staged)s,
    %(rejected)s, %(unknown_addresses)s, %(unknown_versions)s, %(oldest_sent_at)s, %(newest_sent_at)s, %(started_at)s
from login_etl.masking
returning
    batch_id, (staged_at at time zone 'UTC')::date as staged_on, kid,
    exists (select from login_etl.erased_users) as meets_tombstones,
    exists (select from pg_tables where schemaname = 'privacy' and tablename = 'originals') as has_vault

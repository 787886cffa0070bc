select
    count(*) as batches,
    coalesce(sum(received), 0)::bigint as received,
    coalesce(sum(staged), 0)::bigint as staged,
    coalesce(sum(rejected), 0)::bigint as rejected,
    count(merged_at) as merged_batches,
    coalesce(sum(staged) filter (where merged_at is not null), 0)::bigint as merged_staged,
    coalesce(sum(inserted), 0)::bigint as inserted,
    coalesce(sum(already_there), 0)::bigint as already_there,
    coalesce(sum(received) filter (where deleted is not null), 0)::bigint as confirmed,
    coalesce(sum(deleted), 0)::bigint as deleted,
    coalesce(sum(delete_failed), 0)::bigint as delete_failed,
    coalesce(sum(expired), 0)::bigint as expired
from login_etl.batches
where run_id = %(run_id)s

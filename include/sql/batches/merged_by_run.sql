-- What a run has merged, in all its tries. Rows that were refused first are in the account of the run that loaded them.
select
    coalesce(sum(batches), 0)::bigint as batches,
    coalesce(sum(inserted), 0)::bigint as inserted,
    coalesce(sum(already_there), 0)::bigint as already_there,
    coalesce(sum(refused), 0)::bigint as refused
from (
    select 1 as batches, inserted, already_there, refused
    from login_etl.batches
    where merged_by = %(merged_by)s and merged_at is not null
    union all
    select 0 as batches, -late_merges.inserted, -late_merges.already_there, 0 as refused
    from login_etl.late_merges
    inner join login_etl.batches using (batch_id)
    where batches.merged_by = %(merged_by)s
    union all
    select 0 as batches, inserted, already_there, 0 as refused
    from login_etl.late_merges
    where merged_by = %(merged_by)s
) as parts

-- How many rows the batches of a day have, and which of them are not merged, or not wholly. They are asked of the partition itself, so
-- that rows of a batch that nobody knows count as not merged; and of the day's batches, which may have no rows.
-- A skip scan over the index: as many steps as there are batches, however many rows.
with recursive present as (
    (select batch_id from {partition} order by batch_id limit 1)
    union all
    select (
        select batch_id from {partition} as following
        where following.batch_id > present.batch_id
        order by batch_id limit 1
    )
    from present
    where batch_id is not null
)

select
    coalesce(sum(staged), 0) as rows,
    array_agg(batch_id order by batch_id) filter (where merged_at is null or refused > 0) as unmerged
from (
    select batch_id, staged, merged_at, refused
    from present
    left join login_etl.batches using (batch_id)
    where batch_id is not null
    union
    select batch_id, staged, merged_at, refused
    from login_etl.batches
    where merged_at is null and (staged_at at time zone 'UTC')::date = %(day)s
) as batches

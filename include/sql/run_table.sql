select
    case when map_index < 0 then source else format('drain %%s, try %%s', map_index, try_number) end as task,
    count(*), sum(received), sum(staged), sum(rejected), sum(inserted), sum(already_there), sum(deleted), sum(expired),
    sum(delete_failed)
from login_etl.batches
where run_id = %(run_id)s
group by source, map_index, try_number
order by map_index, try_number

-- What the default partition holds: rows of months that can be made, and, where month is null, of all other dates.
select
    case
        when create_date >= %(oldest)s and create_date < %(stop)s then date_trunc('month', create_date)::date
    end as month,
    count(*) as rows,
    min(create_date)::text as oldest,
    max(create_date)::text as newest
from public.user_logins_default
group by month
order by month

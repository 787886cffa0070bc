-- Those with rows in staging; of the others nothing is left to do.
select batch_id, (staged_at at time zone 'UTC')::date as staged_on, staged
from login_etl.batches
where
    kid = any(%(kids)s)
    and exists (select from login_etl.staging_logins where staging_logins.batch_id = batches.batch_id)
order by batch_id

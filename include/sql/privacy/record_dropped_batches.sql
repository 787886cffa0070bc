-- Batches that staging has no rows of, any more or ever.
update login_etl.batches
set kid = %(kid)s
where
    kid = any(%(kids)s)
    and not exists (select from login_etl.staging_logins where staging_logins.batch_id = batches.batch_id)

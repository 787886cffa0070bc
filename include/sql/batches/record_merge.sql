-- already_there is counted from the staged rows themselves, so that a row missing from staging shows
-- as inserted + already_there < staged.
update login_etl.batches
set
    inserted = %(inserted)s,
    already_there = (
        select count(*) from login_etl.staging_logins
        where batch_id = %(batch_id)s and staged_on = %(staged_on)s
    ) - %(inserted)s,
    merged_at = clock_timestamp()
where batch_id = %(batch_id)s
returning staged, inserted, already_there

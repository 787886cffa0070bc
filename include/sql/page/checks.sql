-- The latest result of each check; those that do not hold come first.
select name, passed, found, checked, says, checked_at from login_etl.data_checks order by passed, name

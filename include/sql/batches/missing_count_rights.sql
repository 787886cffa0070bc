-- The statements that would give this role what a count needs, beyond what a run does. Of the catalogue only.
select array(
    select format('grant temporary on database %I to %I', current_database(), current_user)
    where not has_database_privilege(current_database(), 'temporary')
)

-- Who is in which of the roles, but for their owner.
select roleid::regrole::text as role, string_agg(member::regrole::text, ', ' order by member::regrole::text) as members
from pg_auth_members as each
where
    roleid::regrole::text in ('privacy_pipeline', 'privacy_officer', 'privacy_auditor', 'privacy_analyst')
    and coalesce((to_jsonb(each) ->> 'inherit_option')::boolean, true)
group by roleid
order by role

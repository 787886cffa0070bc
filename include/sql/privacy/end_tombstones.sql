-- Not while there is a body that was sent before, and that a replay may open.
delete from login_etl.erased_users
where
    erased_at < now() - make_interval(days => %(days)s)
    and erased_at < (
        select coalesce(min(sent_at), 'infinity') from login_etl.rejected_messages where sealed_body is not null
    )

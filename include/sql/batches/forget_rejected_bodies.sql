update login_etl.rejected_messages
set sealed_body = null
where sealed_body is not null and rejected_at < now() - make_interval(days => %(days)s)

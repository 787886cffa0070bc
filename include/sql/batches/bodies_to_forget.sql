select count(*)
from login_etl.rejected_messages
where sealed_body is not null and rejected_at < now() - make_interval(days => %(days)s)

select message_id, kid, sealed_body
from login_etl.rejected_messages
where sealed_body is not null and kid = any(%(kids)s) and message_id > %(after)s
order by message_id
limit %(messages)s
for update

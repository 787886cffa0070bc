insert into login_etl.refused_rows (batch_id, staged_on, message_id, reason)
select %(batch_id)s, %(staged_on)s, message_id, reason
from unnest(%(message_ids)s::uuid[], %(reasons)s::text[]) as refused (message_id, reason)
on conflict (batch_id, message_id) do update set reason = excluded.reason, refused_at = excluded.refused_at

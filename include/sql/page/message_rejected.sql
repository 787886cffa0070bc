select
    batch_id, sent_at, rejected_at, reason, receive_count, replayed_in, erased_at,
    sealed_body is not null as can_be_replayed, body_bytes
from login_etl.rejected_messages
where message_id = %(message_id)s

insert into login_etl.rejected_messages (
    message_id, batch_id, sent_at, receive_count, reason, fields, kid, sealed_body, body_bytes, body_sha256
) values (
    %(message_id)s, %(batch_id)s, %(sent_at)s, %(receive_count)s, %(reason)s, %(fields)s, %(kid)s, %(sealed_body)s,
    %(body_bytes)s, %(body_sha256)s
)
-- A message whose body was forgotten, and which came again, has no other copy once it is deleted from the queue.
on conflict (message_id) do update set
    kid = excluded.kid, sealed_body = excluded.sealed_body, rejected_at = now()
where
    rejected_messages.sealed_body is null
    and rejected_messages.replayed_in is null
    and rejected_messages.erased_at is null
    and excluded.sealed_body is not null

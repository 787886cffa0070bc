insert into login_etl.rejected_messages (
    message_id, batch_id, sent_at, receive_count, reason, fields, kid, sealed_body
) values (
    %(message_id)s, %(batch_id)s, %(sent_at)s, %(receive_count)s, %(reason)s, %(fields)s, %(kid)s, %(sealed_body)s
)
on conflict do nothing

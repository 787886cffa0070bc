update login_etl.rejected_messages
set replayed_in = %(batch_id)s, sealed_body = null
where message_id = any(%(message_ids)s)

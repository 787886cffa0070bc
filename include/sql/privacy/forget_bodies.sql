update login_etl.rejected_messages set sealed_body = null where message_id = any(%(message_ids)s)

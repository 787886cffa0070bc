update login_etl.rejected_messages set sealed_body = %(sealed_body)s, kid = %(kid)s where message_id = %(message_id)s

select privacy.ask_erasure(%(case_number)s, %(user_id)s)

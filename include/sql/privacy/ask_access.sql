select privacy.ask_access(%(case_number)s, %(user_id)s)

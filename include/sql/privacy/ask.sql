select privacy.ask(
    %(run_id)s, %(digest)s, %(requester)s, %(case_number)s, %(reason)s, %(is_access)s, %(items)s::jsonb
)

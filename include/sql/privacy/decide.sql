select privacy.decide(%(run_id)s, %(digest)s, %(approver)s, %(approve)s)

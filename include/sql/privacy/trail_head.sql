select seq, hash from privacy.audit_head

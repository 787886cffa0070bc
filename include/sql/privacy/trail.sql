select seq, entry, hash from privacy.audit where seq <= %(seq)s order by seq

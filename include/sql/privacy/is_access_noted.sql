select count(*) > 0 from privacy.accesses where case_number = %(case_number)s and ended_at is null

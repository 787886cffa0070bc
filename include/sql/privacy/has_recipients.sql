select count(*) > 0 from privacy.recipients

select key_id from privacy.recipients order by registered_at, key_id

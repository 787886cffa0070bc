select key_id, public_key from privacy.recipients where retired_at is null order by registered_at, key_id

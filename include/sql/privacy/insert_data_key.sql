insert into privacy.data_keys (staged_on, batch_id, key_id, sealed_key)
values (%(staged_on)s, %(batch_id)s, %(key_id)s, %(sealed_key)s)

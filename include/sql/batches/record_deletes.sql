update login_etl.batches
set deleted = %(deleted)s, delete_failed = %(delete_failed)s, expired = %(expired)s
where batch_id = %(batch_id)s

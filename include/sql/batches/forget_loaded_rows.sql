delete from login_etl.refused_rows where batch_id = %(batch_id)s and message_id <> all(%(message_ids)s::uuid[])

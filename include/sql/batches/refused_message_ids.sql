select message_id from login_etl.refused_rows where batch_id = %(batch_id)s order by message_id

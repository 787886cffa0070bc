update login_etl.batches set kid = %(kid)s where batch_id = %(batch_id)s

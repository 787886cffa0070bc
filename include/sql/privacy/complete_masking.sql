update login_etl.masking set is_complete = true where kid = %(kid)s

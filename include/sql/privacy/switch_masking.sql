update login_etl.masking set kid = %(kid)s, since = now() where kid <> %(kid)s

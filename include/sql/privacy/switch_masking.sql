update login_etl.masking set kid = %(kid)s, since = now(), is_complete = false where kid <> %(kid)s

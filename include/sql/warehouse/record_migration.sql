insert into login_etl.schema_migrations (version, name) values (%(version)s, %(name)s)

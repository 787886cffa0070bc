insert into {schema}.schema_migrations (version, name) values (%(version)s, %(name)s)

-- Binary: of a line of text at which a COPY fails, for whatever reason, Postgres logs every value.
copy login_etl.staging_logins ({columns}) from stdin (format binary)

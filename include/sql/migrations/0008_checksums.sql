-- What a migration's file was when it was applied, so that a file that is changed later is noticed.
alter table login_etl.schema_migrations add column sha256 text;

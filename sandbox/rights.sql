-- What the pipeline's role needs, and all it needs. Run as an owner of the database.
-- The role makes the schema login_etl and public.user_logins itself, and so owns them.
grant connect, create, temporary on database warehouse to pipeline; -- temporary: for count_shared and rotate_masking_key
grant usage, create on schema public to pipeline;

-- Where public.user_logins exists already, adopting it takes its owner's right, once:
--   alter table public.user_logins owner to pipeline;

-- The role that the connection `warehouse` uses. The image runs this once, when it makes the database.
\getenv password PIPELINE_PASSWORD
create role pipeline login password :'password';

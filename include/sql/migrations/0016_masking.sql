-- The key id that masks are made with: one row, once the first batch is staged. A key that is appended to the connection
-- changes nothing until the rotation writes its id here.
create table login_etl.masking (
    only_row boolean primary key default true check (only_row),
    kid text not null,
    since timestamptz not null default now(),
    is_complete boolean not null
);

comment on table login_etl.masking is 'The key id that masks are made with; one row, changed by rotate_masking_key';
comment on column login_etl.masking.only_row is 'Always true: there is one row';
comment on column login_etl.masking.kid is 'Key id';
comment on column login_etl.masking.since is 'Since when';
comment on column login_etl.masking.is_complete is 'Whether no mask of an older key of ours is left';

-- Who was erased, as a mask of the user id under the key in use: of what they sent before, rows stay as counts only.
create table login_etl.erased_users (
    user_mask text primary key,
    erased_at timestamptz not null
);

alter table login_etl.staging_logins alter column user_id drop not null;

comment on table login_etl.erased_users is 'Users who were erased, for 30 days: what they sent before is staged without user id and masks';
comment on column login_etl.erased_users.user_mask is 'Mask of the user id';
comment on column login_etl.erased_users.erased_at is 'What was sent until then is theirs no more';
comment on column login_etl.staging_logins.user_id is 'As the event has it; null once the user is erased';

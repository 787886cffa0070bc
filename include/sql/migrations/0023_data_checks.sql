-- What check_user_logins found, for whoever wants to know without a log: the latest result of each check.
create table login_etl.data_checks (
    name text primary key,
    passed boolean not null,
    found bigint not null,
    checked bigint not null,
    says text not null,
    checked_at timestamptz not null default now()
);

comment on table login_etl.data_checks is 'The latest result of each check of check_user_logins';
comment on column login_etl.data_checks.name is 'What should hold';
comment on column login_etl.data_checks.passed is 'Whether it does';
comment on column login_etl.data_checks.found is 'In how many rows it does not';
comment on column login_etl.data_checks.checked is 'Of how many rows';
comment on column login_etl.data_checks.says is 'Which rows are found';
comment on column login_etl.data_checks.checked_at is 'When it was checked';

-- The schema may have been made beforehand by somebody who may create schemas.
do $$
begin
    if to_regnamespace('login_etl') is null then
        create schema login_etl;
    end if;
end $$;

create table login_etl.schema_migrations (
    version integer primary key,
    name text not null,
    applied_at timestamptz not null default now()
);

-- One row for each COPY commit. The delete counts stay null after a crash between commit and delete.
create table login_etl.batches (
    batch_id bigint generated always as identity primary key,
    run_id text not null,
    map_index integer not null,
    try_number integer not null,
    kid text not null,
    received integer not null,
    staged integer not null,
    rejected integer not null,
    inserted integer,
    already_there integer,
    deleted integer,
    delete_failed integer,
    expired integer,
    oldest_sent_at timestamptz not null,
    newest_sent_at timestamptz not null,
    started_at timestamptz not null,
    staged_at timestamptz not null default now(),
    merged_at timestamptz,
    check (received = staged + rejected)
);

create index batches_not_merged on login_etl.batches (batch_id) where merged_at is null;
create index batches_by_run on login_etl.batches (run_id);
create index batches_by_kid on login_etl.batches (kid);

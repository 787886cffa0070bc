-- One row for each rebuild: which run restored how many rows of which sent times. It has no end after a crash.
create table login_etl.rebuilds (
    rebuild_id bigint generated always as identity primary key,
    run_id text not null,
    sent_from timestamptz not null,
    sent_to timestamptz not null,
    rows integer not null default 0,
    began_at timestamptz not null default now(),
    ended_at timestamptz
);

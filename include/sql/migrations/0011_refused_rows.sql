-- Rows that user_logins refuses. They stay in staging; this says which and why, by the names of error and constraint.
create table login_etl.refused_rows (
    batch_id bigint not null,
    message_id uuid not null,
    staged_on date not null,
    reason text not null,
    refused_at timestamptz not null default now(),
    primary key (batch_id, message_id)
);

-- refused: how many rows wait now because user_logins refuses them; all of the batch's, where it is not merged.
-- merged_by: the DAG and the run that merged the batch, or were the first to find that it is refused as a whole.
alter table login_etl.batches
    add column refused integer not null default 0,
    add column merged_by text,
    add column dag_id text,
    add column queue text;

create index batches_by_merge on login_etl.batches (merged_by);

-- What a run loaded of batches that were merged before: rows that were refused then.
create table login_etl.late_merges (
    late_merge_id bigint generated always as identity primary key,
    batch_id bigint not null,
    merged_by text not null,
    inserted integer not null,
    already_there integer not null,
    merged_at timestamptz not null default now()
);

create index late_merges_by_merge on login_etl.late_merges (merged_by);
create index late_merges_by_batch on login_etl.late_merges (batch_id);

-- refused: how many ranges of sent times were left out, because user_logins refuses a row in each.
alter table login_etl.rebuilds
    add column dag_id text,
    add column refused integer not null default 0;

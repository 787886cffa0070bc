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

create or replace view login_etl.history as
select
    run_id,
    source,
    min(started_at) as started_at,
    max(merged_at) as merged_at,
    count(*) as batches,
    count(merged_at) as merged_batches,
    sum(received) as received,
    sum(staged) as staged,
    sum(rejected) as rejected,
    coalesce(sum(inserted), 0) as inserted,
    coalesce(sum(already_there), 0) as already_there,
    coalesce(sum(deleted), 0) as deleted,
    coalesce(sum(expired), 0) as expired,
    coalesce(sum(delete_failed), 0) as delete_failed,
    coalesce(sum(received) filter (where deleted is null), 0) as deletes_unknown,
    array_agg(batch_id order by batch_id) filter (
        where
            received <> staged + rejected
            or staged <> inserted + already_there + refused
            or received <> deleted + expired + delete_failed
    ) as unbalanced_batches,
    sum(refused) as refused,
    dag_id,
    queue
from login_etl.batches
group by dag_id, run_id, source, queue;

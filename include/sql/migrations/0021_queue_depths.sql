-- What each run saw on its queue at its start: so that whoever looks at the pipeline needs no access to the queue.
create table login_etl.queue_depths (
    dag_id text not null,
    run_id text not null,
    queue text,
    waiting integer,
    in_flight integer,
    dead_letters integer,
    observed_at timestamptz not null default now(),
    primary key (dag_id, run_id)
);

create index queue_depths_by_time on login_etl.queue_depths (observed_at);

comment on table login_etl.queue_depths is 'What each run saw on its queue at its start; one row for each run';
comment on column login_etl.queue_depths.dag_id is 'DAG';
comment on column login_etl.queue_depths.run_id is 'Run';
comment on column login_etl.queue_depths.queue is 'URL of the queue; null for a rebuild, which has none';
comment on column login_etl.queue_depths.waiting is 'About how many messages could be received; null where SQS did not say';
comment on column login_etl.queue_depths.in_flight is 'About how many had been received and not deleted; null likewise';
comment on column login_etl.queue_depths.dead_letters is 'About how many were in its dead-letter queue; null likewise, and without the right to ask';
comment on column login_etl.queue_depths.observed_at is 'When';

-- First, since it takes the stronger lock.
alter table login_etl.batches add column refusal text;
comment on column login_etl.batches.refusal is 'Of a batch that is refused as a whole: error, and the constraint, column or function behind it';

-- Batches are staged in the order of time, so that a few kilobytes lead to those of a range of it.
create index batches_by_time on login_etl.batches using brin (staged_at) with (pages_per_range = 32, autosummarize = on);
create index rejected_messages_by_time on login_etl.rejected_messages (rejected_at);
create index refused_rows_by_message on login_etl.refused_rows (message_id);

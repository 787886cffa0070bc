-- Where a batch's messages come from: queue, dead_letter_queue or rejected_messages.
alter table login_etl.batches add column source text not null default 'queue';

-- The sealed body goes when it is replayed or has expired; the row stays, as the account of the message.
alter table login_etl.rejected_messages
    add column rejected_at timestamptz not null default now(),
    add column replayed_in bigint,
    alter column sealed_body drop not null;

update login_etl.rejected_messages set rejected_at = staged_at
from login_etl.batches
where batches.batch_id = rejected_messages.batch_id;

create index rejected_messages_with_body on login_etl.rejected_messages (rejected_at, message_id)
where sealed_body is not null;

-- One row for each run. Deletes are unknown for batches of rejected messages, which are on no queue, and for batches
-- whose task ended between commit and the record of its deletes: what is still on the queue comes again.
create view login_etl.history as
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
            or staged <> inserted + already_there
            or received <> deleted + expired + delete_failed
    ) as unbalanced_batches
from login_etl.batches
group by run_id, source;

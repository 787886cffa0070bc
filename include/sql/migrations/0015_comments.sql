-- What each table and column is, for whoever looks at them in a client; and who shares devices and addresses.
-- Of a user_logins that was there before this project only our two columns are described.
comment on schema login_etl is 'How logins come from an SQS queue into public.user_logins; docs/tables.md';

comment on table login_etl.batches is 'One row for each commit of a drain or a replay, with its counts';
comment on column login_etl.batches.batch_id is 'Number of the batch, also in user_logins';
comment on column login_etl.batches.dag_id is 'DAG that staged it; null before migration 0011';
comment on column login_etl.batches.run_id is 'Run that staged it';
comment on column login_etl.batches.map_index is 'Drain task of the run; -1 for a replay';
comment on column login_etl.batches.try_number is 'Try of the task';
comment on column login_etl.batches.source is 'queue, dead_letter_queue or rejected_messages';
comment on column login_etl.batches.queue is 'URL of the queue that was drained; null for a replay';
comment on column login_etl.batches.kid is 'Key id of its masks';
comment on column login_etl.batches.received is 'Messages: staged + rejected';
comment on column login_etl.batches.staged is 'Logins: inserted + already there + refused, once merged';
comment on column login_etl.batches.rejected is 'Messages that are no login, in rejected_messages';
comment on column login_etl.batches.inserted is 'Rows that user_logins got from it; null until it is merged';
comment on column login_etl.batches.already_there is 'Rows that user_logins had already: redeliveries';
comment on column login_etl.batches.refused is 'Rows that wait because user_logins refuses them';
comment on column login_etl.batches.deleted is 'Messages deleted from the queue; null for a replay, and after a crash before that was known';
comment on column login_etl.batches.delete_failed is 'Messages that could not be deleted; they come again';
comment on column login_etl.batches.expired is 'Messages that were too late to be deleted; they come again';
comment on column login_etl.batches.unknown_addresses is 'Logins with text for an address that is none';
comment on column login_etl.batches.unknown_versions is 'Logins with a version that app_version cannot hold';
comment on column login_etl.batches.oldest_sent_at is 'When the first of its messages was sent';
comment on column login_etl.batches.newest_sent_at is 'When the last of its messages was sent';
comment on column login_etl.batches.started_at is 'When the task that staged it began';
comment on column login_etl.batches.staged_at is 'When it was staged';
comment on column login_etl.batches.merged_at is 'When it was merged; null until then';
comment on column login_etl.batches.merged_by is 'DAG and run that merged it, or were the first to find it refused as a whole';

comment on table login_etl.staging_logins is 'Masked logins by batch, kept for 30 days unless set otherwise; rebuilds read them';
comment on column login_etl.staging_logins.batch_id is 'Batch';
comment on column login_etl.staging_logins.staged_on is 'UTC day of staging, by which the table is partitioned';
comment on column login_etl.staging_logins.message_id is 'SQS message id; the same again for a redelivery';
comment on column login_etl.staging_logins.sent_at is 'When the message was sent to SQS';
comment on column login_etl.staging_logins.user_id is 'As the event has it';
comment on column login_etl.staging_logins.device_type is 'As the event has it';
comment on column login_etl.staging_logins.masked_ip is 'Mask of the address: key id, colon, HMAC-SHA-256; docs/masking.md';
comment on column login_etl.staging_logins.masked_device_id is 'Mask of the device id, likewise';
comment on column login_etl.staging_logins.locale is 'As the event has it';
comment on column login_etl.staging_logins.app_version_text is 'As the event has it';
comment on column login_etl.staging_logins.app_version is 'major * 1000000 + minor * 1000 + patch; null where that cannot be';

comment on table login_etl.rejected_messages is 'Messages that are no login: why, and the body, sealed';
comment on column login_etl.rejected_messages.message_id is 'SQS message id';
comment on column login_etl.rejected_messages.batch_id is 'Batch that it came in';
comment on column login_etl.rejected_messages.sent_at is 'When it was sent to SQS';
comment on column login_etl.rejected_messages.receive_count is 'How often it had been received then';
comment on column login_etl.rejected_messages.reason is 'Fields and the rules that they broke; never a value';
comment on column login_etl.rejected_messages.fields is 'The fields of the reason';
comment on column login_etl.rejected_messages.kid is 'Key id of the masking key that its body is sealed under';
comment on column login_etl.rejected_messages.sealed_body is 'Attributes and body, encrypted; null once replayed, forgotten, or if too large';
comment on column login_etl.rejected_messages.rejected_at is 'When it was rejected';
comment on column login_etl.rejected_messages.replayed_in is 'Batch in which it was loaded later';
comment on column login_etl.rejected_messages.body_bytes is 'Of a body too large to be kept: its size';
comment on column login_etl.rejected_messages.body_sha256 is 'Of a body too large to be kept: its SHA-256';

comment on table login_etl.refused_rows is 'Rows in staging that user_logins refuses; each run tries them again';
comment on column login_etl.refused_rows.batch_id is 'Batch';
comment on column login_etl.refused_rows.message_id is 'SQS message id';
comment on column login_etl.refused_rows.staged_on is 'UTC day of staging';
comment on column login_etl.refused_rows.reason is 'Error, and the constraint, column or function behind it';
comment on column login_etl.refused_rows.refused_at is 'When it was refused last';

comment on table login_etl.late_merges is 'What a run loaded of rows that were refused before';
comment on column login_etl.late_merges.late_merge_id is 'Number of the row';
comment on column login_etl.late_merges.batch_id is 'Batch';
comment on column login_etl.late_merges.merged_by is 'DAG and run';
comment on column login_etl.late_merges.inserted is 'Rows that user_logins got';
comment on column login_etl.late_merges.already_there is 'Rows that user_logins had already';
comment on column login_etl.late_merges.merged_at is 'When';

comment on table login_etl.rebuilds is 'Rebuilds of user_logins from staging';
comment on column login_etl.rebuilds.rebuild_id is 'Number of the rebuild';
comment on column login_etl.rebuilds.dag_id is 'DAG; null before migration 0011';
comment on column login_etl.rebuilds.run_id is 'Run';
comment on column login_etl.rebuilds.sent_from is 'Start of the sent times, inclusive';
comment on column login_etl.rebuilds.sent_to is 'End of the sent times, exclusive';
comment on column login_etl.rebuilds.rows is 'Rows that were missing or different';
comment on column login_etl.rebuilds.refused is 'Ranges of sent times left out, because user_logins refuses a row in each';
comment on column login_etl.rebuilds.began_at is 'When it began';
comment on column login_etl.rebuilds.ended_at is 'When it ended; null after a crash';

comment on table login_etl.schema_migrations is 'Migrations that were applied, with the SHA-256 of their files';
comment on column login_etl.schema_migrations.version is 'Number of the file';
comment on column login_etl.schema_migrations.name is 'Name of the file';
comment on column login_etl.schema_migrations.applied_at is 'When it was applied';
comment on column login_etl.schema_migrations.sha256 is 'SHA-256 of its text; of files before 0008 as they were at that upgrade';

comment on view login_etl.history is 'The counts of each run, by DAG and queue';

do $$
begin
    comment on column public.user_logins.message_id is 'SQS message id; with create_date the key. Null in rows from before this project';
    comment on column public.user_logins.batch_id is 'Batch in login_etl.batches that brought the row';
    if to_regclass('public.user_logins_default') is not null then
        comment on table public.user_logins is 'Logins, with masked address and device id; one row for each message';
        comment on column public.user_logins.user_id is 'As the event has it';
        comment on column public.user_logins.device_type is 'As the event has it';
        comment on column public.user_logins.masked_ip is 'Mask of the address: equal addresses have equal masks; docs/masking.md';
        comment on column public.user_logins.masked_device_id is 'Mask of the device id, likewise';
        comment on column public.user_logins.locale is 'As the event has it';
        comment on column public.user_logins.app_version is 'major * 1000000 + minor * 1000 + patch; null where that cannot be';
        comment on column public.user_logins.create_date is 'UTC day on which the message was sent';
    end if;
end $$;

create or replace view login_etl.shared_devices as
select masked_device_id, count(distinct user_id) as users, count(*) as logins
from public.user_logins
where masked_device_id is not null
group by masked_device_id
having count(distinct user_id) > 1
order by users desc, logins desc, masked_device_id;

create or replace view login_etl.shared_addresses as
select masked_ip, count(distinct user_id) as users, count(*) as logins
from public.user_logins
where masked_ip is not null
group by masked_ip
having count(distinct user_id) > 1
order by users desc, logins desc, masked_ip;

comment on view login_etl.shared_devices is 'Devices that several users have, the most shared first';
comment on view login_etl.shared_addresses is 'Addresses that several users have, the most shared first';

-- What each column of the views is.
comment on column login_etl.history.run_id is 'Run that staged the batches';
comment on column login_etl.history.source is 'queue, dead_letter_queue or rejected_messages';
comment on column login_etl.history.started_at is 'When its first task began';
comment on column login_etl.history.merged_at is 'When the last of its batches was merged';
comment on column login_etl.history.batches is 'Batches that it staged';
comment on column login_etl.history.merged_batches is 'Of those, the merged ones';
comment on column login_etl.history.received is 'Messages: staged + rejected';
comment on column login_etl.history.staged is 'Logins: inserted + already there + refused, once merged';
comment on column login_etl.history.rejected is 'Messages that are no login';
comment on column login_etl.history.inserted is 'Rows that user_logins got';
comment on column login_etl.history.already_there is 'Rows that user_logins had already: redeliveries';
comment on column login_etl.history.deleted is 'Messages deleted from the queue';
comment on column login_etl.history.expired is 'Messages that were too late to be deleted; they come again';
comment on column login_etl.history.delete_failed is 'Messages that could not be deleted; they come again';
comment on column login_etl.history.deletes_unknown is 'Messages of batches whose deletes are not known: of replays, and of tasks that died before they were';
comment on column login_etl.history.unbalanced_batches is 'Batches whose counts contradict each other; null where all add up';
comment on column login_etl.history.refused is 'Rows that wait because user_logins refuses them';
comment on column login_etl.history.dag_id is 'DAG of the run; null before migration 0011';
comment on column login_etl.history.queue is 'URL of the queue; null for a replay';
comment on column login_etl.history.unknown_addresses is 'Logins with text for an address that is none';
comment on column login_etl.history.unknown_versions is 'Logins with a version that app_version cannot hold';

comment on column login_etl.shared_devices.masked_device_id is 'Mask of the device id';
comment on column login_etl.shared_devices.users is 'How many users have it';
comment on column login_etl.shared_devices.logins is 'How many logins have it';

comment on column login_etl.shared_addresses.masked_ip is 'Mask of the address';
comment on column login_etl.shared_addresses.users is 'How many users have it';
comment on column login_etl.shared_addresses.logins is 'How many logins have it';

do $$
begin
    if to_regclass('public.user_logins_default') is not null then
        comment on column public.user_logins.message_id is 'SQS message id; with create_date the key';
    end if;
end $$;

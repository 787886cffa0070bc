-- An ordinary, logged table: once SQS has deleted the messages, these rows are their only copy.
-- One partition for each UTC day of batches.staged_at, so that old days are dropped, not deleted.
create table login_etl.staging_logins (
    batch_id bigint not null,
    staged_on date not null,
    message_id uuid not null,
    sent_at timestamptz not null,
    user_id varchar(128) not null,
    device_type varchar(32),
    masked_ip varchar(256),
    masked_device_id varchar(256),
    locale varchar(32),
    app_version_text varchar(32),
    app_version integer
) partition by range (staged_on);

create index staging_logins_by_batch on login_etl.staging_logins (batch_id);
create index staging_logins_by_sent_at on login_etl.staging_logins (sent_at);

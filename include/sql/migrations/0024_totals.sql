-- What the batches add up to that nothing changes any more, so that who asks for sums since ever adds only what came
-- since.
create table login_etl.totals (
    dag_id text primary key,
    up_to bigint not null,
    received bigint not null,
    staged bigint not null,
    rejected bigint not null,
    inserted bigint not null,
    already_there bigint not null,
    deleted bigint not null,
    delete_failed bigint not null,
    expired bigint not null,
    merged_at timestamptz not null
);

create table login_etl.rejected_totals (
    rule text primary key,
    messages bigint not null
);

comment on table login_etl.totals is 'Sums over batches that nothing changes any more; those behind the largest up_to are in none';
comment on column login_etl.totals.dag_id is 'DAG that staged them; unknown for those from before migration 0011';
comment on column login_etl.totals.up_to is 'The newest batch of the DAG that is in the sums';
comment on column login_etl.totals.received is 'Messages: staged + rejected';
comment on column login_etl.totals.staged is 'Logins: inserted + already there';
comment on column login_etl.totals.rejected is 'Messages that are no login, each copy counted';
comment on column login_etl.totals.inserted is 'Rows that user_logins got';
comment on column login_etl.totals.already_there is 'Rows that user_logins had already: redeliveries';
comment on column login_etl.totals.deleted is 'Messages deleted from the queue';
comment on column login_etl.totals.delete_failed is 'Messages that could not be deleted; they come again';
comment on column login_etl.totals.expired is 'Messages that were too late to be deleted; they come again';
comment on column login_etl.totals.merged_at is 'When the last of them was merged';

comment on table login_etl.rejected_totals is 'How many messages of the batches in totals broke which rule';
comment on column login_etl.rejected_totals.rule is 'Field and rule, as in rejected_messages.reason';
comment on column login_etl.rejected_totals.messages is 'Messages, without further copies';

-- Bodies are sealed (include/sealing.py); reason and fields name fields and rules, never values.
create table login_etl.rejected_messages (
    message_id uuid primary key,
    batch_id bigint not null,
    sent_at timestamptz not null,
    receive_count integer not null,
    reason text not null,
    fields text[] not null,
    kid text not null,
    sealed_body bytea not null
);

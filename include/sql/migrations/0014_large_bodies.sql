-- Of a rejected message that is too large to be kept: the bytes of its body in UTF-8, and their SHA-256. Null where the
-- body is, or was, sealed.
alter table login_etl.rejected_messages
    add column body_bytes integer,
    add column body_sha256 bytea;

create index rejected_messages_too_large on login_etl.rejected_messages (rejected_at) where body_sha256 is not null;

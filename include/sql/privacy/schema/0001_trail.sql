-- The trail: what was done with personal data, by whom. Nobody but a DBA can change an entry, and whoever recomputes the
-- whole chain is found by an anchor, a number and its hash, that was written down elsewhere.
-- Entries hold ids, counts, key ids and case numbers, and never a mask, a user id or a reason: nothing in them ever has
-- to be erased.
create table privacy.schema_migrations (
    version integer primary key,
    name text not null,
    applied_at timestamptz not null default now(),
    sha256 text
);

create table privacy.audit (
    seq bigint primary key,
    entry text not null,
    hash bytea not null
);

create table privacy.audit_head (
    only_row boolean primary key default true check (only_row),
    seq bigint not null,
    hash bytea not null
);

insert into privacy.audit_head (seq, hash) values (0, decode(repeat('00', 32), 'hex'));

-- One entry. hash_n = SHA-256(hash_(n-1) ‖ n in decimal ‖ ' ' ‖ entry), all text in UTF-8, hash_0 = 32 zero bytes.
-- Whoever is second waits for the head, so that there are no gaps and no forks; not for long, since the pipeline asks
-- while others wait behind it.
create function privacy.append(event text, details jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '5s'
as $$
declare
    number bigint;
    line text;
    digest bytea;
begin
    select head.seq + 1, head.hash into strict number, digest from privacy.audit_head as head for update;
    line := jsonb_build_object(
        'at', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'by', session_user, 'event', event, 'details', details
    )::text;
    digest := sha256(digest || convert_to(number || ' ' || line, 'UTF8'));
    update privacy.audit_head as head set seq = number, hash = digest;
    insert into privacy.audit (seq, entry, hash) values (number, line, digest);
end;
$$;

-- Whether these are counts and key ids under names that we know, and nothing that could be personal: whole numbers,
-- since digits behind a point could spell anything.
create function privacy.are_counts(details jsonb) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select coalesce(jsonb_typeof(details) = 'object', false) and not exists (
        select
        from jsonb_each(case when jsonb_typeof(details) = 'object' then details else '{}' end) as each (name, value)
        where
            name not in ('before', 'in_use', 'rows', 'staging', 'user_logins', 'bodies', 'resealed', 'unreadable')
            or not coalesce(
                case jsonb_typeof(value)
                    when 'number' then value #>> '{}' ~ '^[0-9]{1,15}$'
                    when 'string' then value #>> '{}' ~ '^[0-9a-f]{8}$'
                end,
                false
            )
    )
$$;

-- What the pipeline has done: 'noted', or 'not a note', which is in the trail as well.
create function privacy.note(event text, details jsonb) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if event in ('masking key switched', 'masks under one key') and privacy.are_counts(details) then
        perform privacy.append(event, details);
        return 'noted';
    end if;
    perform privacy.append('note refused', '{}');
    return 'not a note';
end;
$$;

revoke all on all functions in schema privacy from public;
grant usage on schema privacy to privacy_pipeline, privacy_officer, privacy_auditor;
grant select on privacy.schema_migrations to privacy_pipeline, privacy_officer, privacy_auditor;
grant select on privacy.audit_head to privacy_pipeline, privacy_auditor;
grant select on privacy.audit to privacy_auditor;
grant execute on function privacy.note(text, jsonb) to privacy_pipeline;

comment on schema privacy is 'What is done with personal data, and asked for; made by python -m include.privacy install';
comment on table privacy.schema_migrations is 'Migrations of this schema that were applied';
comment on column privacy.schema_migrations.version is 'Number of the file';
comment on column privacy.schema_migrations.name is 'Name of the file';
comment on column privacy.schema_migrations.applied_at is 'When';
comment on column privacy.schema_migrations.sha256 is 'SHA-256 of the file, in hex';
comment on table privacy.audit is 'The trail: what was done with personal data; checked by python -m include.privacy verify';
comment on column privacy.audit.seq is 'Number, without gaps';
comment on column privacy.audit.entry is 'JSON, as it was hashed: at, by (the login), event, details';
comment on column privacy.audit.hash is 'SHA-256 of the hash before, the number, a space, and the entry';
comment on table privacy.audit_head is 'The end of the trail; one row';
comment on column privacy.audit_head.only_row is 'Always true: there is one row';
comment on column privacy.audit_head.seq is 'Number of the newest entry';
comment on column privacy.audit_head.hash is 'Its hash';

-- The vault: originals of addresses and device ids, sealed to public keys of people. The pipeline writes here, and can
-- read nothing back: it has no private key. Off until an officer registers a public key.
create table privacy.settings (
    only_row boolean primary key default true check (only_row),
    keep_originals_days integer not null default 90 check (keep_originals_days between 1 and 3650),
    grant_hours integer not null default 24 check (grant_hours between 1 and 720)
);

insert into privacy.settings default values;

create table privacy.recipients (
    key_id text primary key,
    public_key bytea not null check (length(public_key) = 32),
    registered_by text not null,
    registered_at timestamptz not null default now(),
    retired_at timestamptz
);

create table privacy.data_keys (
    staged_on date not null,
    batch_id bigint not null,
    key_id text not null references privacy.recipients (key_id),
    sealed_key bytea not null,
    primary key (staged_on, batch_id, key_id)
);

-- By message, not by mask or user: a rotation has nothing to do here, and the table by itself links nothing.
create table privacy.originals (
    staged_on date not null,
    batch_id bigint not null,
    message_id uuid not null,
    sealed_ip bytea,
    sealed_device_id bytea
) partition by range (staged_on);

create index originals_by_message on privacy.originals (message_id);

-- The partitions of today and of so many days after it, at most 31; returns how many are new. Attached, so that those who
-- write and read originals meanwhile need not wait.
create function privacy.make_days(ahead integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '3s'
as $$
declare
    today date := (now() at time zone 'UTC')::date;
    day date;
    part text;
    made integer := 0;
begin
    for number in 0..least(greatest(ahead, 0), 31) loop
        day := today + number;
        part := to_char(day, '"originals_"YYYY"_"MM"_"DD');
        continue when to_regclass('privacy.' || part) is not null;
        -- One at a time. By a lock of the table, behind which the catalogue is read anew, and that strangers cannot take;
        -- attaching needs the same, and who writes and reads originals is not in its way.
        lock table only privacy.originals in share update exclusive mode;
        continue when to_regclass('privacy.' || part) is not null;
        execute format('create table privacy.%I (like privacy.originals including all)', part);
        execute format('alter table privacy.%I replica identity full', part);
        execute format('comment on table privacy.%I is %L', part, 'Originals of one day');
        execute format(
            'alter table privacy.originals attach partition privacy.%I for values from (%L) to (%L)', part, day, day + 1
        );
        made := made + 1;
    end loop;
    return made;
end;
$$;

-- An officer registers a public key, X25519: 'registered', 'already registered', 'retired' or 'not a public key'. The days
-- are made as well, for runs that are under way.
create function privacy.register(public_key bytea) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    id text := left(encode(sha256(register.public_key), 'hex'), 8);
    known privacy.recipients;
begin
    -- Nothing can be sealed to a point of low order, and nothing opened that was sealed to one with the top bit set.
    if coalesce(length(register.public_key), 0) <> 32 or get_byte(register.public_key, 31) > 127
        or encode(register.public_key, 'hex') in (
            '0000000000000000000000000000000000000000000000000000000000000000',
            '0100000000000000000000000000000000000000000000000000000000000000',
            'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
            '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
            'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
            'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
            'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'
        ) then
        perform privacy.append('recipient refused', '{}');
        return 'not a public key';
    end if;
    insert into privacy.recipients (key_id, public_key, registered_by)
    values (id, register.public_key, session_user)
    on conflict (key_id) do nothing;
    if found then
        perform privacy.make_days(7);
        perform privacy.append('recipient registered', jsonb_build_object('key', id));
        return 'registered';
    end if;
    select * into known from privacy.recipients where key_id = id;
    return case
        when known.public_key <> register.public_key then 'not a public key'
        when known.retired_at is not null then 'retired'
        else 'already registered'
    end;
end;
$$;

-- Nothing more is sealed to this key; what was stays readable with it: 'retired', 'retired; no key is left …' or 'no such
-- key in use'. For the DBA, as the owner.
create function privacy.retire(key_id text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    update privacy.recipients as known
    set retired_at = clock_timestamp()
    where known.key_id = retire.key_id and known.retired_at is null;
    if not found then
        return 'no such key in use';
    end if;
    perform privacy.append('recipient retired', jsonb_build_object('key', retire.key_id));
    if exists (select from privacy.recipients as known where known.retired_at is null) then
        return 'retired';
    end if;
    return 'retired; no key is left, so no originals are kept from now on';
end;
$$;

-- How long originals and grants last; null leaves one as it is. For the DBA, as the owner.
create function privacy.change_settings(keep_originals_days integer, grant_hours integer) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    now_are jsonb;
begin
    update privacy.settings as now
    set
        keep_originals_days = coalesce(change_settings.keep_originals_days, now.keep_originals_days),
        grant_hours = coalesce(change_settings.grant_hours, now.grant_hours)
    returning jsonb_build_object('keep_originals_days', now.keep_originals_days, 'grant_hours', now.grant_hours)
    into strict now_are;
    perform privacy.append('settings changed', now_are);
    return 'changed';
end;
$$;

-- Drop the days of originals that are over, with their data keys; returns how many.
create function privacy.expire_originals() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '3s'
as $$
declare
    oldest date;
    part text;
    dropped integer := 0;
begin
    select (now() at time zone 'UTC')::date - settings.keep_originals_days into strict oldest from privacy.settings;
    for part in
        select relname
        from pg_inherits inner join pg_class on pg_class.oid = inhrelid
        where inhparent = 'privacy.originals'::regclass and relname < to_char(oldest, '"originals_"YYYY"_"MM"_"DD')
        order by relname
    loop
        execute format('drop table privacy.%I', part);
        dropped := dropped + 1;
    end loop;
    delete from privacy.data_keys where staged_on < oldest;
    if dropped > 0 then
        perform privacy.append('originals expired', jsonb_build_object('days', dropped));
    end if;
    return dropped;
end;
$$;

create or replace function privacy.are_counts(details jsonb) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select coalesce(jsonb_typeof(details) = 'object', false) and not exists (
        select
        from jsonb_each(case when jsonb_typeof(details) = 'object' then details else '{}' end) as each (name, value)
        where
            name not in (
                'before', 'in_use', 'rows', 'staging', 'user_logins', 'bodies', 'originals', 'resealed', 'unreadable'
            )
            or not coalesce(
                case jsonb_typeof(value)
                    when 'number' then value #>> '{}' ~ '^[0-9]{1,15}$'
                    when 'string' then value #>> '{}' ~ '^[0-9a-f]{8}$'
                end,
                false
            )
    )
$$;

revoke all on function
    privacy.register(bytea), privacy.retire(text), privacy.change_settings(integer, integer),
    privacy.make_days(integer), privacy.expire_originals()
from public;
grant select on privacy.settings, privacy.recipients to privacy_pipeline, privacy_officer, privacy_auditor;
grant insert on privacy.originals, privacy.data_keys to privacy_pipeline;
grant execute on function privacy.register(bytea) to privacy_officer;
grant execute on function privacy.make_days(integer), privacy.expire_originals() to privacy_pipeline;

comment on table privacy.settings is 'How long originals and grants last; one row, changed by python -m include.privacy settings';
comment on column privacy.settings.only_row is 'Always true: there is one row';
comment on column privacy.settings.keep_originals_days is 'Days for which originals are kept';
comment on column privacy.settings.grant_hours is 'Hours for which an approved request can be revealed';
comment on table privacy.recipients is 'Public keys that originals are sealed to; the vault is on while one is not retired';
comment on column privacy.recipients.key_id is 'First 8 hex digits of the SHA-256 of the public key';
comment on column privacy.recipients.public_key is 'X25519, 32 bytes';
comment on column privacy.recipients.registered_by is 'Login of the officer';
comment on column privacy.recipients.registered_at is 'When';
comment on column privacy.recipients.retired_at is 'Since when nothing more is sealed to it; null: in use';
comment on table privacy.data_keys is 'The key of a batch''s originals, sealed to each recipient';
comment on column privacy.data_keys.staged_on is 'UTC day of the batch';
comment on column privacy.data_keys.batch_id is 'The batch';
comment on column privacy.data_keys.key_id is 'The recipient';
comment on column privacy.data_keys.sealed_key is 'HPKE: encapsulated key, ciphertext and tag';
comment on table privacy.originals is 'Addresses and device ids as they were sent, sealed; a partition a day';
comment on column privacy.originals.staged_on is 'UTC day of the batch';
comment on column privacy.originals.batch_id is 'The batch, whose data key opens them';
comment on column privacy.originals.message_id is 'The message';
comment on column privacy.originals.sealed_ip is 'AES-256-GCM: nonce, ciphertext and tag; null: none was sent';
comment on column privacy.originals.sealed_device_id is 'AES-256-GCM: nonce, ciphertext and tag; null: none was sent';

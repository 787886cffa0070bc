-- Who may see which originals: asked for and decided in Airflow, read by an officer, who has the private key.
create table privacy.requests (
    request_id bigint generated always as identity primary key,
    run_id text not null unique,
    digest text not null,
    requester text not null,
    case_number text not null,
    reason text,
    is_access boolean not null,
    items integer not null,
    asked_at timestamptz not null default now(),
    approved boolean,
    approver text,
    decided_at timestamptz,
    valid_until timestamptz,
    revoked_by text,
    check ((approved is null) = (decided_at is null)),
    check (not coalesce(approved, false) or (approver is not null and valid_until is not null))
);

-- An item is a mask, with the messages that may have its original, newest first; or a whole row, for a person who asks.
create table privacy.request_items (
    request_id bigint not null references privacy.requests (request_id) on delete cascade,
    item integer not null,
    candidate integer not null,
    field text check (field in ('ip', 'device_id')),
    mask text check (mask ~ '^[0-9a-f]{8}:[0-9a-f]{64}$'),
    message_id uuid,
    stored jsonb,
    primary key (request_id, item, candidate)
);

create index request_items_by_message on privacy.request_items (message_id);

create table privacy.disclosures (
    request_id bigint not null references privacy.requests (request_id),
    officer text not null,
    at timestamptz not null default clock_timestamp(),
    xact xid8 not null default pg_current_xact_id(),
    primary key (request_id, xact)
);

-- People who ask what is held about them; the user id stays out of Airflow.
create table privacy.accesses (
    case_number text primary key,
    user_id text,
    asked_by text not null,
    asked_at timestamptz not null default now(),
    ended_at timestamptz,
    check ((user_id is null) = (ended_at is not null))
);

-- A name that Airflow gives to one person only. Names are in the trail, so none is a mask.
create function privacy.is_person(name text) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        name ~ '^[^[:cntrl:]]{1,128}$' and name !~ '[0-9a-f]{8}:[0-9a-f]{64}'
        and lower(btrim(name)) not in ('', 'anonymous', 'dag_test', 'none'),
        false
    )
$$;

create function privacy.is_case_number(case_number text) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select coalesce(case_number ~ '^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$', false)
$$;

-- The pipeline asks, in the name of who triggered a run: 'asked', or why not. Again for the same run only with the same
-- digest, and while nobody has decided. `items`: item, candidate, field, mask, message_id, stored.
create function privacy.ask(
    run_id text, digest text, requester text, case_number text, reason text, is_access boolean, items jsonb
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    verdict text := 'asked';
    known privacy.requests;
    is_new boolean := false;
    number integer;
begin
    if not privacy.is_person(ask.requester) then
        verdict := 'nobody asked';
    elsif not privacy.is_case_number(ask.case_number) then
        verdict := 'not a case number';
    elsif coalesce(ask.digest, '') !~ '^[0-9a-f]{64}$' or coalesce(length(ask.run_id), 0) not between 1 and 250
        or length(ask.reason) > 500 or ask.is_access is null or jsonb_typeof(ask.items) is distinct from 'array' then
        verdict := 'not a request';
    end if;
    if verdict <> 'asked' then
        perform privacy.append('request refused', jsonb_build_object('why', verdict));
        return verdict;
    end if;
    select * into known from privacy.requests where run_id = ask.run_id for update;
    if known.digest <> ask.digest then
        verdict := 'the request has changed';
    elsif known.decided_at is not null then
        verdict := 'already decided';
    end if;
    if verdict <> 'asked' then
        perform privacy.append('request refused', jsonb_build_object('request', known.request_id, 'why', verdict));
        return verdict;
    end if;
    select count(distinct each ->> 'item') into number from jsonb_array_elements(ask.items) as each;
    if known.request_id is null then
        insert into privacy.requests (run_id, digest, requester, case_number, reason, is_access, items)
        values (ask.run_id, ask.digest, ask.requester, ask.case_number, ask.reason, ask.is_access, number)
        returning * into known;
        is_new := true;
    else
        delete from privacy.request_items where request_id = known.request_id;
        update privacy.requests set items = number where request_id = known.request_id;
    end if;
    insert into privacy.request_items (request_id, item, candidate, field, mask, message_id, stored)
    select known.request_id, each.item, each.candidate, each.field, each.mask, each.message_id, each.stored
    from jsonb_to_recordset(ask.items) as each (
        item integer, candidate integer, field text, mask text, message_id uuid, stored jsonb
    );
    if is_new then
        perform privacy.append('disclosure asked', jsonb_build_object(
            'request', known.request_id, 'digest', ask.digest, 'requester', ask.requester, 'case', ask.case_number,
            'is_access', ask.is_access, 'items', number
        ));
    end if;
    return verdict;
end;
$$;

-- The pipeline hands on who decided: 'approved', 'rejected', or why it does not count.
create function privacy.decide(run_id text, digest text, approver text, approve boolean) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    verdict text;
    known privacy.requests;
begin
    select * into known from privacy.requests where run_id = decide.run_id for update;
    verdict := case
        when known.request_id is null then 'no such request'
        when known.digest is distinct from decide.digest then 'the request has changed'
        when known.decided_at is not null then 'already decided'
        when decide.approve is null or not privacy.is_person(decide.approver) then 'nobody decided'
        when lower(btrim(decide.approver)) = lower(btrim(known.requester)) then 'own request'
        when decide.approve then 'approved'
        else 'rejected'
    end;
    if verdict not in ('approved', 'rejected') then
        perform privacy.append('decision refused', jsonb_build_object('request', known.request_id, 'why', verdict));
        return verdict;
    end if;
    update privacy.requests as asked
    set
        approved = decide.approve, approver = decide.approver, decided_at = clock_timestamp(),
        valid_until = case
            when decide.approve then clock_timestamp() + make_interval(hours => settings.grant_hours)
        end
    from privacy.settings
    where asked.request_id = known.request_id;
    perform privacy.append('disclosure ' || verdict, jsonb_build_object(
        'request', known.request_id, 'digest', known.digest, 'requester', known.requester, 'approver', decide.approver,
        'case', known.case_number
    ));
    return verdict;
end;
$$;

-- Whether a request is granted now: 'granted', or why not.
create function privacy.standing(known privacy.requests) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select case
        when known.request_id is null then 'no such request'
        when known.revoked_by is not null then 'revoked'
        when known.approved is null then 'nobody has decided'
        when not known.approved then case when known.approver is null then 'never decided' else 'rejected' end
        when known.valid_until <= clock_timestamp() then 'expired'
        else 'granted'
    end
$$;

-- An officer says that he is going to read: 'disclosed', or why he may not. He can once this is committed: what is
-- rolled back would leave no trace.
create function privacy.disclose(request bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    known privacy.requests;
    verdict text;
begin
    select * into known from privacy.requests where request_id = disclose.request for share;
    verdict := privacy.standing(known);
    if verdict <> 'granted' then
        perform privacy.append('disclosure refused', jsonb_build_object('request', known.request_id, 'why', verdict));
        return verdict;
    end if;
    insert into privacy.disclosures (request_id, officer) values (known.request_id, session_user)
    on conflict do nothing;
    perform privacy.append('disclosed', jsonb_build_object(
        'request', known.request_id, 'digest', known.digest, 'case', known.case_number
    ));
    return 'disclosed';
end;
$$;

-- What is left of the items of a request that this login has disclosed in the last five minutes, in a transaction that
-- is committed; for the recipient with this key id. Of an item's messages it is the first that has an original.
create function privacy.disclosed(request bigint, key_id text) returns table (
    item integer, field text, mask text, stored jsonb, message_id uuid, batch_id bigint, sealed_key bytea,
    sealed_ip bytea, sealed_device_id bytea
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    known privacy.requests;
begin
    select * into known from privacy.requests where request_id = disclosed.request;
    if privacy.standing(known) <> 'granted' or not exists (
        select
        from privacy.disclosures as said
        where
            said.request_id = known.request_id and said.officer = session_user
            -- Of a restored database, the transactions of before may be in the future, which would be an error.
            and case
                when said.at between clock_timestamp() - interval '5 minutes' and clock_timestamp()
                    then pg_xact_status(said.xact) = 'committed'
            end
    ) then
        return;
    end if;
    -- All messages at once: each partition is then searched once, not once a message.
    return query
    with kept as materialized (
        select originals.staged_on, originals.batch_id, originals.message_id, originals.sealed_ip,
            originals.sealed_device_id
        from privacy.originals
        where
            originals.message_id = any(array(
                select named.message_id from privacy.request_items as named where named.request_id = known.request_id
            ))
    )

    select distinct on (asked.item)
        asked.item, asked.field, asked.mask, asked.stored, kept.message_id, kept.batch_id, data_keys.sealed_key,
        case when asked.field is distinct from 'device_id' then kept.sealed_ip end,
        case when asked.field is distinct from 'ip' then kept.sealed_device_id end
    from privacy.request_items as asked
    left join kept
        on
            kept.message_id = asked.message_id
            and case asked.field
                when 'ip' then kept.sealed_ip is not null
                when 'device_id' then kept.sealed_device_id is not null
                else true
            end
    left join privacy.data_keys
        on
            data_keys.staged_on = kept.staged_on and data_keys.batch_id = kept.batch_id
            and data_keys.key_id = disclosed.key_id
    where asked.request_id = known.request_id
    order by asked.item, data_keys.sealed_key is null, kept.message_id is null, asked.candidate;
end;
$$;

-- An officer or an auditor ends a grant, or a request that nobody has decided: 'revoked', or how it stands.
create function privacy.revoke(request bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    known privacy.requests;
    verdict text;
begin
    select * into known from privacy.requests where request_id = revoke.request for update;
    verdict := privacy.standing(known);
    if verdict not in ('granted', 'nobody has decided') then
        perform privacy.append(
            'revocation refused', jsonb_build_object('request', known.request_id, 'why', verdict)
        );
        return case verdict when 'revoked' then 'revoked before' else verdict end;
    end if;
    update privacy.requests
    set
        revoked_by = session_user, approved = coalesce(approved, false),
        decided_at = coalesce(decided_at, clock_timestamp())
    where request_id = known.request_id;
    perform privacy.append('revoked', jsonb_build_object('request', known.request_id));
    return 'revoked';
end;
$$;

-- An officer notes which person a case is about: 'noted', or what is wrong with it. Once that is over, it may be noted
-- again.
create function privacy.ask_access(case_number text, user_id text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    verdict text := 'noted';
begin
    if not privacy.is_case_number(ask_access.case_number) then
        verdict := 'not a case number';
    elsif ask_access.case_number = ask_access.user_id then
        verdict := 'a user id as case number';
    elsif coalesce(length(ask_access.user_id), 0) not between 1 and 128 then
        verdict := 'not a user id';
    else
        insert into privacy.accesses as noted (case_number, user_id, asked_by)
        values (ask_access.case_number, ask_access.user_id, session_user)
        on conflict (case_number) do update set
            user_id = excluded.user_id, asked_by = excluded.asked_by, asked_at = now(), ended_at = null
        where noted.ended_at is not null;
        verdict := case when found then 'noted' else 'this case number is in use' end;
    end if;
    if verdict = 'noted' then
        perform privacy.append('access asked', jsonb_build_object('case', ask_access.case_number));
    else
        perform privacy.append('access refused', jsonb_build_object('why', verdict));
    end if;
    return verdict;
end;
$$;

-- End what is over: requests that nobody decides, the items of those that can be read no more, the user ids of people who
-- asked, and reasons, once originals of then are gone too; returns how many requests have lost their items.
create function privacy.end_requests() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    ended integer;
begin
    update privacy.requests
    set approved = false, decided_at = clock_timestamp()
    where decided_at is null and asked_at < now() - interval '7 days';
    with gone as (
        delete from privacy.request_items
        using privacy.requests
        where
            request_items.request_id = requests.request_id
            and privacy.standing(requests) not in ('granted', 'nobody has decided')
        returning requests.request_id
    )
    select count(distinct request_id) into strict ended from gone;
    update privacy.accesses
    set user_id = null, ended_at = now()
    where
        ended_at is null
        and not exists (
            select
            from privacy.requests
            where
                requests.case_number = accesses.case_number and is_access
                and privacy.standing(requests) in ('granted', 'nobody has decided')
        )
        and (
            asked_at < now() - interval '30 days'
            -- Not one of before it was noted again.
            or exists (
                select
                from privacy.requests
                where
                    requests.case_number = accesses.case_number and is_access
                    and requests.asked_at >= accesses.asked_at
            )
        );
    update privacy.requests
    set reason = null
    from privacy.settings
    where reason is not null and decided_at < now() - make_interval(days => keep_originals_days);
    if ended > 0 then
        perform privacy.append('requests ended', jsonb_build_object('requests', ended));
    end if;
    return ended;
end;
$$;

-- The pipeline has erased, in the transaction that erased the rows; here go originals of these messages, and what was noted
-- for requests and for the person who asked what is held about them. A verdict, as before, or 'asked again': what was
-- sent between `until` and then is not erased. And how many originals there were. The head of the trail comes last: who
-- asks for an erasure locks in this order, too.
drop function privacy.erase(bigint, jsonb);

create function privacy.erase(
    erasure bigint, counts jsonb, until timestamptz, message_ids uuid[], out verdict text, out originals bigint
)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    asked privacy.erasures;
    counted jsonb;
begin
    originals := 0;
    select * into asked from privacy.erasures where erasure_id = erase.erasure and done_at is null for update;
    verdict := case
        when not privacy.are_counts(erase.counts) then 'not counts'
        when asked.erasure_id is null then 'not in the queue'
        when erase.until is null or asked.asked_at > erase.until then 'asked again'
        else 'erased'
    end;
    if verdict <> 'erased' then
        perform privacy.append('note refused', jsonb_build_object('erasure', erase.erasure, 'why', verdict));
        return;
    end if;
    delete from privacy.request_items
    where message_id = any(erase.message_ids) or stored ->> 'user_id' = asked.user_id;
    update privacy.accesses set user_id = null, ended_at = now() where user_id = asked.user_id;
    delete from privacy.originals where message_id = any(erase.message_ids);
    get diagnostics originals = row_count;
    counted := erase.counts || jsonb_build_object('originals', originals);
    update privacy.erasures set user_id = null, done_at = now(), counts = counted where erasure_id = erase.erasure;
    perform privacy.append(
        'erased', jsonb_build_object('case', asked.case_number, 'erasure', erase.erasure, 'counts', counted)
    );
end;
$$;

revoke all on function
    privacy.is_person(text), privacy.is_case_number(text),
    privacy.ask(text, text, text, text, text, boolean, jsonb), privacy.decide(text, text, text, boolean),
    privacy.standing(privacy.requests), privacy.disclose(bigint), privacy.disclosed(bigint, text),
    privacy.revoke(bigint), privacy.ask_access(text, text), privacy.end_requests(),
    privacy.erase(bigint, jsonb, timestamptz, uuid[])
from public;
grant select on privacy.requests to privacy_officer, privacy_auditor;
grant select on privacy.disclosures to privacy_auditor;
grant select on privacy.accesses to privacy_pipeline;
grant select (case_number, asked_by, asked_at, ended_at) on privacy.accesses to privacy_officer, privacy_auditor;
grant execute on function
    privacy.ask(text, text, text, text, text, boolean, jsonb), privacy.decide(text, text, text, boolean),
    privacy.end_requests(), privacy.erase(bigint, jsonb, timestamptz, uuid[])
to privacy_pipeline;
grant execute on function
    privacy.disclose(bigint), privacy.disclosed(bigint, text), privacy.ask_access(text, text)
to privacy_officer;
grant execute on function privacy.revoke(bigint) to privacy_officer, privacy_auditor;
grant execute on function privacy.standing(privacy.requests) to privacy_officer, privacy_auditor;

comment on table privacy.requests is 'Who asked for which originals and who decided, by the DAG disclose_pii';
comment on column privacy.requests.request_id is 'Number of the request';
comment on column privacy.requests.run_id is 'The run of disclose_pii that asked';
comment on column privacy.requests.digest is 'SHA-256 of what was asked for, in hex';
comment on column privacy.requests.requester is 'Airflow''s name of who asked';
comment on column privacy.requests.case_number is 'Number of the case';
comment on column privacy.requests.reason is 'Why; null once originals of then are gone';
comment on column privacy.requests.is_access is 'Whether it is all of a person, who asked what is held about them';
comment on column privacy.requests.items is 'How many masks, or rows of a person';
comment on column privacy.requests.asked_at is 'When it was asked';
comment on column privacy.requests.approved is 'Whether it was approved; null: nobody has decided';
comment on column privacy.requests.approver is 'Airflow''s name of who decided; null: nobody did in time';
comment on column privacy.requests.decided_at is 'When it was decided';
comment on column privacy.requests.valid_until is 'Until when it can be revealed';
comment on column privacy.requests.revoked_by is 'Login of who ended it early';
comment on table privacy.request_items is 'What a request is for; deleted when it is over';
comment on column privacy.request_items.request_id is 'The request';
comment on column privacy.request_items.item is 'Number of the mask, or of the row of a person';
comment on column privacy.request_items.candidate is 'Number among the messages that may have its original, newest first';
comment on column privacy.request_items.field is 'ip or device_id; null for a row of a person';
comment on column privacy.request_items.mask is 'The mask; null for a row of a person';
comment on column privacy.request_items.message_id is 'The message';
comment on column privacy.request_items.stored is 'The row of a person, as it was stored';
comment on table privacy.disclosures is 'Who read what was granted, and when';
comment on column privacy.disclosures.request_id is 'The request';
comment on column privacy.disclosures.officer is 'Login of the officer';
comment on column privacy.disclosures.at is 'When';
comment on column privacy.disclosures.xact is 'The transaction, which must be committed before anything is read';
comment on table privacy.accesses is 'People who ask what is held about them, by python -m include.privacy access';
comment on column privacy.accesses.case_number is 'Number of the case';
comment on column privacy.accesses.user_id is 'Who; null once it is over';
comment on column privacy.accesses.asked_by is 'Login of the officer';
comment on column privacy.accesses.asked_at is 'When';
comment on column privacy.accesses.ended_at is 'When it was over';

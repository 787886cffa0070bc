-- The queue of people to be forgotten, outside of Airflow, which would keep a user id in its own database and logs.
create table privacy.erasures (
    erasure_id bigint generated always as identity primary key,
    case_number text not null,
    user_id text,
    asked_by text not null,
    asked_at timestamptz not null default now(),
    done_at timestamptz,
    counts jsonb,
    check ((user_id is null) = (done_at is not null))
);

create unique index erasures_waiting on privacy.erasures (user_id) where done_at is null;

-- An officer asks: 'queued', 'already queued, now as …', or what is wrong. Who is asked for again while waiting is to be
-- forgotten as of now, and keeps one place in the queue, under all case numbers, so that each case is found.
create function privacy.ask_erasure(case_number text, user_id text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    id bigint;
    cases text;
    is_new boolean;
begin
    if coalesce(ask_erasure.case_number, '') !~ '^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$' then
        perform privacy.append('erasure refused', '{}');
        return 'not a case number';
    elsif ask_erasure.case_number = ask_erasure.user_id then
        perform privacy.append('erasure refused', '{}');
        return 'a user id as case number';
    elsif coalesce(length(ask_erasure.user_id), 0) not between 1 and 128 then
        perform privacy.append('erasure refused', jsonb_build_object('case', ask_erasure.case_number));
        return 'not a user id';
    end if;
    insert into privacy.erasures as asked (case_number, user_id, asked_by, asked_at)
    values (ask_erasure.case_number, ask_erasure.user_id, session_user, clock_timestamp())
    on conflict (user_id) where done_at is null do update set
        asked_at = excluded.asked_at,
        case_number = case
            when excluded.case_number = any(string_to_array(asked.case_number, ', ')) then asked.case_number
            else asked.case_number || ', ' || excluded.case_number
        end
    returning asked.erasure_id, asked.case_number, xmax = 0 into id, cases, is_new;
    perform privacy.append(
        case when is_new then 'erasure asked' else 'erasure asked again' end,
        jsonb_build_object('case', ask_erasure.case_number, 'erasure', id)
    );
    return case when is_new then 'queued' else 'already queued, now as ' || cases end;
end;
$$;

-- The pipeline has erased: 'erased', 'not in the queue' or 'not counts'. In the transaction that erased the rows.
create function privacy.erase(erasure bigint, counts jsonb) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    of_case text;
begin
    if not privacy.are_counts(erase.counts) then
        perform privacy.append('note refused', '{}');
        return 'not counts';
    end if;
    update privacy.erasures as asked
    set user_id = null, done_at = now(), counts = erase.counts
    where asked.erasure_id = erase.erasure and asked.done_at is null
    returning asked.case_number into of_case;
    if of_case is null then
        perform privacy.append('note refused', jsonb_build_object('erasure', erase.erasure));
        return 'not in the queue';
    end if;
    perform privacy.append(
        'erased', jsonb_build_object('case', of_case, 'erasure', erase.erasure, 'counts', erase.counts)
    );
    return 'erased';
end;
$$;

revoke all on function privacy.ask_erasure(text, text), privacy.erase(bigint, jsonb) from public;
grant select on privacy.erasures to privacy_pipeline;
grant select (erasure_id, case_number, asked_by, asked_at, done_at, counts)
on privacy.erasures to privacy_officer, privacy_auditor;
grant execute on function privacy.ask_erasure(text, text) to privacy_officer;
grant execute on function privacy.erase(bigint, jsonb) to privacy_pipeline;

comment on table privacy.erasures is 'People to be forgotten, asked for by python -m include.privacy erase, done by erase_users';
comment on column privacy.erasures.erasure_id is 'Number of the erasure';
comment on column privacy.erasures.case_number is 'Case numbers under which it was asked for';
comment on column privacy.erasures.user_id is 'Who; null once it is done';
comment on column privacy.erasures.asked_by is 'Login of the officer';
comment on column privacy.erasures.asked_at is 'When it was asked for';
comment on column privacy.erasures.done_at is 'When it was done';
comment on column privacy.erasures.counts is 'How much was erased where';

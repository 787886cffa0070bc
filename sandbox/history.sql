-- In the tables' own form, as runs would have left it; the parameters are those of write_history. The last run is that of
-- five to ten minutes ago. By day there is more to do than by night.
select setseed(0.5);

create temporary table made_up on commit drop as
select
    *,
    'scheduled__' || to_char(run_at, 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"') as run_id,
    floor(staged / %(logins_a_reject)s::double precision + random())::integer as rejected,
    staged_at - interval '3 seconds' - (0.3 + 0.7 * random()) * least(1.6, load * load) * interval '40 seconds' as sent_at
from (
    select *, round(%(logins)s * load * (0.9 + 0.2 * random()))::integer as staged
    from (
        select
            *,
            to_timestamp(floor(date_part('epoch', staged_at) / 300) * 300) at time zone 'UTC' as run_at,
            1 - 0.6 * cos(2 * pi() * (date_part('epoch', staged_at) / 86400 - 0.125)) as load
        from generate_series(1, %(batches)s::integer) as batch
        cross join lateral (
            select
                to_timestamp(floor(date_part('epoch', now()) / 300) * 300)
                - (%(batches)s - batch + 0.5) * make_interval(days => %(days)s) / %(batches)s as staged_at
        ) as at
    ) as loads
) as sizes;

insert into login_etl.queue_depths (dag_id, run_id, queue, waiting, in_flight, dead_letters, observed_at)
select 'user_logins', run_id, %(queue)s, sum(staged + rejected), 0, 0, min(run_at) at time zone 'UTC'
from made_up
group by run_id;

insert into login_etl.batches (
    dag_id, run_id, map_index, try_number, source, queue, kid, received, staged, rejected, inserted, already_there,
    deleted, delete_failed, expired, unknown_addresses, unknown_versions, oldest_sent_at, newest_sent_at, started_at,
    staged_at, merged_at, merged_by
)
select
    'user_logins', run_id, batch %% 2, 1, 'queue', %(queue)s, coalesce(kid, '00000000'), staged + rejected, staged,
    rejected, staged, 0, staged + rejected, 0, 0, 0, 0, sent_at, sent_at + interval '5 seconds',
    staged_at - interval '2 seconds', staged_at, staged_at + interval '4 seconds', 'user_logins/' || run_id
from made_up
left join login_etl.masking on true
order by batch;

insert into login_etl.rejected_messages (
    message_id, batch_id, sent_at, rejected_at, receive_count, reason, fields, kid, sealed_body
)
select
    gen_random_uuid(), batch_id, oldest_sent_at, staged_at, 1, reason, array[split_part(reason, ':', 1)], kid,
    decode(repeat('00', 300), 'hex')
from (
    select
        batches.*,
        (array[
            'user_id: missing', 'user_id: missing', 'user_id: missing', 'user_id: missing', 'body: unknown_envelope',
            'body: unknown_envelope', 'ip: string_type', 'ip: string_type; locale: string_type', 'body: json_invalid'
        ])[1 + floor(9 * random())] as reason
    from login_etl.batches, generate_series(1, rejected)
    where run_id in (select run_id from made_up)
) as rejects;

-- One login in twenty comes from a device that some people share, and one in 25 from such an address.
insert into public.user_logins
select
    'user ' || login, (array['android', 'ios'])[1 + login %% 2],
    kid || ':' || repeat(md5('ip ' || case when login %% 25 = 0 then -floor(sqrt(login / 25)) else login end), 2),
    kid || ':' || repeat(md5('device ' || case when login %% 20 = 0 then -floor(sqrt(login / 20)) else login end), 2),
    (array['RU', 'FR', 'ID', 'CN', null])[1 + login %% 5], 2003000, (sent_at at time zone 'UTC')::date, gen_random_uuid(),
    batch_id
from (
    select kid, batch_id, oldest_sent_at as sent_at, row_number() over (order by batch_id) as login
    from login_etl.batches, generate_series(1, staged)
    where run_id in (select run_id from made_up)
) as logins

-- Count what is wrong in the logins of yesterday and today, in UTC, that have a message id, and in the batches staged
-- since then, and keep it: numbers only, never a value of a row. One scan finds all that is wrong in logins.
with logins as (
    select
        count(*) as checked,
        count(*) filter (where create_date is null or batch_id is null) as without_key,
        -- Together ^[0-9a-f]{8}:[0-9a-f]{64}$, which as one expression would take eight times as long.
        count(*) filter (
            where
                octet_length(masked_ip) <> 73 or strpos(masked_ip, ':') <> 9
                or masked_ip collate "C" !~ '^[0-9a-f]+:[0-9a-f]+$'
                or octet_length(masked_device_id) <> 73 or strpos(masked_device_id, ':') <> 9
                or masked_device_id collate "C" !~ '^[0-9a-f]+:[0-9a-f]+$'
        ) as without_mask,
        count(*) filter (
            where left(masked_ip, 8) <> masking.kid or left(masked_device_id, 8) <> masking.kid
        ) as of_another_key,
        count(*) filter (
            where user_id is null and (masked_ip is not null or masked_device_id is not null)
        ) as half_erased
    from public.user_logins
    left join login_etl.masking on is_complete -- while a rotation is under way there are masks of two keys
    where
        message_id is not null
        and (create_date >= (now() at time zone 'UTC')::date - 1 or create_date is null)
),

batches as (
    select
        count(*) as checked,
        count(*) filter (
            where
                received <> staged + rejected
                or staged <> inserted + already_there + refused
                or received <> deleted + expired + delete_failed
        ) as unbalanced,
        coalesce(sum(staged), 0) as staged,
        coalesce(sum(unknown_versions), 0) as unknown_versions
    from login_etl.batches
    where
        batch_id > coalesce((
            select batch_id from login_etl.batches
            where staged_at < (date_trunc('day', now() at time zone 'UTC') - interval '1 day') at time zone 'UTC'
            order by batch_id desc limit 1
        ), 0)
)

insert into login_etl.data_checks (name, passed, found, checked, says, checked_at)
select result.name, result.passed, result.found, result.checked, result.says, now()
from logins, batches
cross join lateral (
    values
    ('keys_are_whole', without_key = 0, without_key, logins.checked, 'logins without a day or a batch'),
    ('masks_are_masks', without_mask = 0, without_mask, logins.checked, 'logins with another text where a mask is due'),
    ('masks_have_the_key', of_another_key = 0, of_another_key, logins.checked, 'logins with a mask of another key'),
    ('erased_are_erased', half_erased = 0, half_erased, logins.checked, 'logins without a user, but with a mask'),
    ('sums_hold', unbalanced = 0, unbalanced, batches.checked, 'batches whose counts contradict each other'),
    (
        'versions_are_known',
        staged < %(enough)s or unknown_versions * 100 <= %(max_unknown_percent)s * staged,
        unknown_versions, staged, 'logins with a version that app_version cannot hold'
    )
) as result (name, passed, found, checked, says)
on conflict (name) do update
set
    passed = excluded.passed, found = excluded.found, checked = excluded.checked, says = excluded.says,
    checked_at = excluded.checked_at
returning name, passed, found, checked, says

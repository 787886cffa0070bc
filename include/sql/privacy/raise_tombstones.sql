insert into login_etl.erased_users (user_mask, erased_at)
select user_mask, now() from unnest(%(masks)s::text[]) as user_mask
on conflict (user_mask) do update set erased_at = greatest(erased_users.erased_at, excluded.erased_at)

drop index concurrently if exists public.user_logins_new_key

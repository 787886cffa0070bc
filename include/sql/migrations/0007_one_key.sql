-- Apart from the building of its successor, which must not be undone because a reader keeps this from being dropped.
drop index if exists public.user_logins_message_key;

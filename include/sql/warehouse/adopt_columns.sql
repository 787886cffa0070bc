-- Neither rewrites the table.
alter table public.user_logins
    add column if not exists message_id uuid,
    add column if not exists batch_id bigint

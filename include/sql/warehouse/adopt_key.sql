-- Of the rows that have a message id: there are none yet, so it is as quick as reading the table once.
create unique index if not exists {name} on public.user_logins ({columns}) where message_id is not null

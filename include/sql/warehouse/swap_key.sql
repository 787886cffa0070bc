drop index public.user_logins_key;
alter index public.user_logins_new_key rename to user_logins_key

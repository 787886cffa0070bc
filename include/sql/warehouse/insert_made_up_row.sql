insert into public.user_logins (
    user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date
)
values ('made-up', null, null, null, null, null, current_date)
returning create_date = current_date

-- The devices and addresses that most users share, as they were counted last.
(select 'device' as what, masked_device_id as mask, users, logins from login_etl.shared_devices limit %(rows)s)
union all
(select 'address' as what, masked_ip as mask, users, logins from login_etl.shared_addresses limit %(rows)s)
order by 1 desc, users desc, logins desc, mask

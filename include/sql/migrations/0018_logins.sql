-- What an analyst may see: the exercise's seven columns, and neither message ids nor batches.
create or replace view login_etl.logins as
select user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date
from public.user_logins;

comment on view login_etl.logins is 'The logins, for analysts: grant them this view and no table';
comment on column login_etl.logins.user_id is 'As the event has it';
comment on column login_etl.logins.device_type is 'As the event has it';
comment on column login_etl.logins.masked_ip is 'Mask of the address: equal addresses have equal masks; docs/masking.md';
comment on column login_etl.logins.masked_device_id is 'Mask of the device id, likewise';
comment on column login_etl.logins.locale is 'As the event has it';
comment on column login_etl.logins.app_version is 'major * 1000000 + minor * 1000 + patch; null where that cannot be';
comment on column login_etl.logins.create_date is 'UTC day on which the message was sent';

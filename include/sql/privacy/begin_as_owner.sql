grant privacy_owner to current_user;
set local role privacy_owner;

reset role;
revoke privacy_owner from current_user;

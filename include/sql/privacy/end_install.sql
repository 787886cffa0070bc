reset role;

revoke privacy_owner from current_user;

grant privacy_pipeline to {pipeline};

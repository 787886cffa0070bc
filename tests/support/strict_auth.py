"""An auth manager of the tests: that of the laptop, but the user `stranger` may not see the DAG `user_logins`."""

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class StrictAuthManager(SimpleAuthManager):
    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        if user.username == "stranger" and details and details.id == "user_logins":
            return False
        return super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)

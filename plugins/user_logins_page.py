"""The page "User logins" in Airflow's UI, below Browse.

Every task loads this file, so it imports next to nothing: the application is built when the page is first asked for,
which only happens in the API server.
"""

from typing import ClassVar

from airflow.sdk.plugins_manager import AirflowPlugin

MOUNTED_AT = "/user-logins"


def build():
    """The page's application, with Airflow's check of who may look, and the connection `warehouse`."""
    from airflow.api_fastapi.core_api.security import requires_access_dag

    from include.connections import metrics_secret, warehouse_connection
    from include.page import app

    return app.build(
        require_access=requires_access_dag("GET", param_dag_id="user_logins"),
        require_edit=requires_access_dag("PUT", param_dag_id="user_logins"),
        open_warehouse=warehouse_connection,
        metrics_secret=metrics_secret,
        mounted_at=MOUNTED_AT,
    )


class Lazy:
    """An ASGI application that is built at its first request."""

    app = None

    async def __call__(self, scope, receive, send):
        """Answer a request, as ASGI has it."""
        self.app = self.app or build()
        await self.app(scope, receive, send)


class UserLoginsPage(AirflowPlugin):
    """What Airflow mounts, and where its menu leads: a relative link works below a base path, too."""

    name = "user_logins"
    fastapi_apps: ClassVar = [{"app": Lazy(), "url_prefix": MOUNTED_AT, "name": "User logins"}]
    external_views: ClassVar = [
        {
            "name": "User logins",
            "href": "user-logins/",
            "destination": "nav",
            "url_route": "user-logins",
            "category": "browse",
        }
    ]

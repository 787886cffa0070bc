"""The tests' Airflow serves its tasks the newest version of its Execution API only, which is what they ask for.

Each `airflow dags test`, and each API server, would make the routes of all eight earlier versions too, which takes
nearly as long as all else it does. Airflow imports this from its home; the tests of the make targets have homes of
their own, and Airflow as it comes.
"""

import sys

__all__: list[str] = []  # Airflow takes names from here for its own settings, where `Version` is another class

if {"api-server", "test"} & set(sys.argv):  # the other processes serve nothing, and need not import all this
    from airflow.api_fastapi.execution_api import routes, versions
    from cadwyn import HeadVersion, Version, VersionBundle
    from cadwyn.route_generation import _DELETED_ROUTE_TAG

    router = routes.execution_api_router
    router.routes = [route for route in router.routes if _DELETED_ROUTE_TAG not in getattr(route, "tags", ())]
    versions.bundle = VersionBundle(HeadVersion(), Version(versions.bundle.versions[0].value))

"""The page behind Airflow's FAB auth manager: what each role gets, and what gives a role more.

Most production Airflows have it, but its provider brings 19 packages that nothing else here needs, so it is not in
requirements-dev.lock: `pip install apache-airflow-providers-fab==3.10.2` beside it, in an environment of its own.
"""

import json
import os
import subprocess
import time
from contextlib import contextmanager
from http import HTTPStatus
from uuid import uuid4

import pytest

from include.warehouse.setup import prepare_warehouse
from sandbox.airflow import COMPONENTS, components
from sandbox.people import Person
from sandbox.servers import free_port
from tests.support.asking import ask
from tests.support.documents import documented
from tests.support.warehouses import make_empty

pytest.importorskip("airflow.providers.fab", reason="apache-airflow-providers-fab is not installed: it is not locked")

PASSWORD = "a password of these tests"
OF_AIRFLOW = {"ada": "Admin", "otto": "Op", "uma": "User", "vera": "Viewer", "pia": "Public", "olga": "Public"}
OF_OURS = {"dan": "this DAG only", "max": "another DAG"}
ACTIONS = {
    "this DAG only": [("can_read", "DAG:user_logins")],
    "another DAG": [("can_read", "DAG:maintain_user_logins"), ("can_read", "Plugins")],
}
ROUTES = ("/", f"/message?id={uuid4()}", "/api/v1/batches")


class Airflow:
    """An Airflow with FAB whose API server runs, and which knows the DAGs."""

    def __init__(self, environment):
        self.environment = environment
        self.address = environment["AIRFLOW__API__BASE_URL"]
        self.people = {name: Person(self.address, name, PASSWORD) for name in (*OF_AIRFLOW, *OF_OURS)}

    def page(self, name=None):
        """The status of each route for somebody; of one of them all, where they agree."""
        found = {ask(f"{self.address}/user-logins{route}", self.people.get(name))[0] for route in ROUTES}
        return found.pop() if len(found) == 1 else found

    def menu(self, name=None):
        """What the UI is told of its plugins, which it asks for to make the menu."""
        status, _, text = ask(f"{self.address}/api/v2/plugins", self.people.get(name))
        return any(each["name"] == "user_logins" for each in json.loads(text)["plugins"]) if status == 200 else status

    def api(self, path, name):
        return ask(f"{self.address}/api/v2{path}", self.people[name])[0]

    def make(self, role, actions):
        """A role, as soon as the DAGs that it may do something with are parsed: their names are unknown before."""
        pairs = [{"action": {"name": action}, "resource": {"name": resource}} for action, resource in actions]
        deadline = time.monotonic() + 120
        while (answer := self.administer("roles", {"name": role, "actions": pairs}))[0] != HTTPStatus.OK:
            assert time.monotonic() < deadline, answer
            time.sleep(0.5)

    def admit(self, name, role):
        body = {"username": name, "first_name": name, "last_name": name, "email": f"{name}@example.org"}
        answer = self.administer("users", body | {"roles": [{"name": role}], "password": PASSWORD})
        assert answer[0] == HTTPStatus.OK, answer

    def administer(self, what, body):
        return ask(f"{self.address}/auth/fab/v1/{what}", self.people["ada"], body)

    def run(self, script):
        """Run a shell's commands, as an admin does."""
        environment = os.environ | self.environment
        done = subprocess.run(["sh", "-ec", script], env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def started(environment, *names, **settings):
    """These components, below a base path."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/airflow"
    environment = environment | settings | {"AIRFLOW__API__PORT": str(port), "AIRFLOW__API__BASE_URL": address}
    with components(environment, {name: COMPONENTS[name] for name in names}):
        yield Airflow(environment)


@pytest.fixture(scope="module")
def with_fab(local, airflow_home):
    """The environment of an Airflow whose auth manager is FAB, and whose only user is ada."""
    make_empty(local)
    with local.connect(user="pipeline") as warehouse:
        prepare_warehouse(warehouse)
    environment = airflow_home | {
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "AIRFLOW__FAB__CACHE_TTL": "0",  # else a permission counts half a minute later
    }
    Airflow(environment).run(
        "airflow fab-db migrate; airflow users create --username ada --role Admin --firstname Ada --lastname Admin"
        f" --email ada@example.org --password '{PASSWORD}'"
    )
    return environment


@pytest.fixture(scope="module")
def airflow(with_fab):
    with started(with_fab, "api-server", "dag-processor") as found:
        for role, actions in ACTIONS.items():
            found.make(role, actions)
        for name, role in ({**OF_AIRFLOW, **OF_OURS}).items():
            if name != "ada":
                found.admit(name, role)
        yield found


def test_whoever_may_read_the_dag_gets_all_of_it_and_nobody_else_any(airflow):
    assert {name: airflow.page(name) for name in (None, *airflow.people)} == {
        None: 401,
        "ada": 200,
        "otto": 200,
        "uma": 200,
        "vera": 200,
        "dan": 200,
        "pia": 403,
        "olga": 403,
        "max": 403,
    }


def test_the_menu_is_a_permission_of_its_own(airflow):
    assert {name: airflow.menu(name) for name in (None, *airflow.people)} == {
        None: 401,
        "ada": True,
        "otto": True,
        "uma": 403,
        "vera": 403,
        "dan": 403,
        "pia": 403,
        "olga": 403,
        "max": True,  # and the page itself says whom it is for
    }


def test_the_commands_of_the_manual_give_the_entry_or_just_this_dag_with_its_logs(airflow):
    for command in (
        documented("docs/page.md", "airflow roles add-perms Viewer"),
        documented("docs/page.md", "airflow roles create"),
        documented("docs/page.md", "airflow roles add-perms login_readers"),
        documented("docs/page.md", "airflow users add-role"),
        documented("docs/page.md", "airflow sync-perm"),  # takes nothing away
    ):
        airflow.run(command)
    assert [airflow.menu(name) for name in ("uma", "vera", "olga")] == [True, True, True]
    assert airflow.page("olga") == 200
    tasks = "/dags/{}/dagRuns/a run/taskInstances/check_run".replace(" ", "%20")
    for path in ("/dags/{}", "/dags/{}/dagRuns", tasks, tasks + "/logs/1"):
        assert airflow.api(path.format("user_logins"), "olga") in (200, 404)  # nothing has run
        assert airflow.api(path.format("maintain_user_logins"), "olga") == 403
        assert path == "/dags/{}" or airflow.api(path.format("user_logins"), "dan") == 403


def test_a_role_for_the_public_opens_it_to_everybody(with_fab):
    with started(with_fab, "api-server", AIRFLOW__FAB__AUTH_ROLE_PUBLIC="Viewer") as opened:
        assert opened.page() == 200

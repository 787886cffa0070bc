"""The pipeline's connections, and the proxies that let its servers fail."""

import json
import secrets
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.config import Config

from include import connections, pipeline
from include.events.message import Origin, Run
from include.privacy.masking import read_keyring
from include.sqs import calls as sqs
from include.sqs.chunk import ChunkBounds
from sandbox.servers import NO_PROXY, Servers
from tests.support.postgres_proxy import PostgresProxy, Said, postgres_proxy
from tests.support.queues import MESSAGES, left_on, send_events, show_again
from tests.support.runs import A_RUN
from tests.support.sqs_proxy import Call, SqsProxy, sqs_proxy

PROJECT = Path(__file__).parents[2]
TENS = ChunkBounds(messages=10)


@dataclass
class Proxies:
    """The two proxies, and the environment of a process whose connections go through them."""

    sqs: SqsProxy
    postgres: PostgresProxy
    environment: dict

    def let(self, fault):
        """Ask `fault` what becomes of each call and of each statement from now on."""
        self.sqs.fault = self.postgres.fault = fault

    def undisturbed(self):
        self.sqs.fault, self.postgres.fault = Call.forward, Said.forward


@pytest.fixture(scope="session")
def both_proxies(local):
    with (
        tempfile.TemporaryDirectory() as folder,
        sqs_proxy(local.sqs) as of_sqs,
        postgres_proxy(local.postgres, folder) as of_postgres,
    ):
        yield of_sqs, of_postgres


@pytest.fixture
def proxies(both_proxies, airflow_connections):
    of_sqs, of_postgres = both_proxies
    aws, warehouse = (json.loads(airflow_connections[f"AIRFLOW_CONN_{name}"]) for name in ("AWS_SQS", "WAREHOUSE"))
    aws["extra"]["endpoint_url"] = of_sqs.endpoint
    warehouse["host"] = of_postgres.host
    changed = {"AIRFLOW_CONN_AWS_SQS": json.dumps(aws), "AIRFLOW_CONN_WAREHOUSE": json.dumps(warehouse)}
    both = Proxies(of_sqs, of_postgres, airflow_connections | changed)
    both.undisturbed()
    of_sqs.received.clear()
    yield both
    assert of_sqs.mistakes + of_postgres.mistakes == []


@pytest.fixture
def airflow_connections(airflow_home):
    """The environment variables of the connections, and what a forked process needs to find the code."""
    connections = {name: value for name, value in airflow_home.items() if name.startswith("AIRFLOW_CONN_")}
    return connections | NO_PROXY | {"PYTHONPATH": str(PROJECT)}


@pytest.fixture
def connected(airflow_connections, monkeypatch):
    """This process's connections are the sandbox's."""
    for name, value in airflow_connections.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def keys(connected, monkeypatch):
    """The keys in this process's connection, oldest first; call it for a keyring of so many, which it then holds."""
    passwords = [secrets.token_urlsafe(32) for _ in range(3)]

    def hold(number):
        password = ",".join(passwords[:number])
        monkeypatch.setenv("AIRFLOW_CONN_PII_MASKING", json.dumps({"conn_type": "generic", "password": password}))
        return read_keyring(password)

    hold(1)
    return hold


@pytest.fixture
def connected_through_proxies(proxies, monkeypatch):
    """This process's connections go through the proxies."""
    for name, value in proxies.environment.items():
        monkeypatch.setenv(name, value)
    return proxies


@pytest.fixture
def impatient(monkeypatch):
    """No waiting for an answer that is lost, for an empty queue, or before another try."""
    monkeypatch.setattr(connections, "BOTOCORE", connections.BOTOCORE.merge(Config(read_timeout=1)))
    monkeypatch.setattr(sqs, "WAIT_SECONDS", 0)
    monkeypatch.setattr(sqs, "sleep", lambda seconds: None)
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda seconds: None))


@dataclass
class Load:
    """A queue with events on it, the steps of a run, and what must have become of it all at the end."""

    local: Servers
    proxies: Proxies
    queue_url: str

    def __post_init__(self):
        pipeline.check_setup(A_RUN, self.queue_url, source="queue", window=None)
        self.client = self.local.client()
        self.users = send_events(self.client, self.queue_url, "user")

    def ask(self, query):
        """All rows; on a connection of its own, past the proxy."""
        with self.local.connect() as warehouse:
            return warehouse.execute(query).fetchall()

    def drain(self, run, threads=1, queue_url=None):
        """Drain the queue, or another one, as the task of a run; returns its counts."""
        return pipeline.drain_and_mask(
            {"messages": 100, "threads": threads},
            queue_url or self.queue_url,
            origin=Origin(run, 0, 1, datetime.now(UTC)),
            seconds=30,
            bounds=TENS,
        )

    def run(self, run_id="a run", threads=1):
        """Drain the queue, merge, check; returns the counts of both."""
        run = Run("user_logins", run_id)
        counts = self.drain(run, threads)
        merged = pipeline.merge_user_logins(run)
        pipeline.check_run(run, "queue", self.queue_url, drained=[counts])
        return counts | merged

    def settle(self):
        """Run undisturbed, after the visibility timeout: all is there once, and nothing is left."""
        self.proxies.undisturbed()
        show_again(self.client, self.queue_url, self.proxies.sqs.handles())
        counts = self.run("the next run")
        rows = self.ask("select user_id from public.user_logins")
        assert sorted(user for (user,) in rows) == self.users
        assert self.ask("select count(*) from login_etl.rejected_messages") == [(MESSAGES // 10,)]
        assert self.ask("select * from login_etl.history where unbalanced_batches is not null") == []
        assert self.ask("select sum(inserted) from login_etl.history") == [(len(self.users),)]
        assert left_on(self.client, self.queue_url) == 0
        return counts


@pytest.fixture
def load(empty_warehouse, connected_through_proxies, impatient, queue_url):
    return Load(empty_warehouse, connected_through_proxies, queue_url)

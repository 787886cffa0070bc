"""The pipeline's connections, and the proxies that let its servers fail."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.servers import NO_PROXY
from tests.postgres_proxy import PostgresProxy, Said, postgres_proxy
from tests.sqs_proxy import Call, SqsProxy, sqs_proxy

PROJECT = Path(__file__).parents[2]


@dataclass
class Proxies:
    """The two proxies, and the environment of a process whose connections go through them."""

    sqs: SqsProxy
    postgres: PostgresProxy
    environment: dict

    def let(self, fault):
        """Ask `fault` what becomes of each call and of each statement from now on."""
        self.sqs.fault = self.postgres.fault = fault


@pytest.fixture(scope="session")
def both_proxies(local):
    with (
        tempfile.TemporaryDirectory() as folder,
        sqs_proxy(local.sqs) as sqs,
        postgres_proxy(local.postgres, folder) as postgres,
    ):
        yield sqs, postgres


@pytest.fixture
def proxies(both_proxies, airflow_connections):
    sqs, postgres = both_proxies
    sqs.fault, postgres.fault = Call.forward, Said.forward
    sqs.received.clear()
    aws, warehouse = (json.loads(airflow_connections[f"AIRFLOW_CONN_{name}"]) for name in ("AWS_SQS", "WAREHOUSE"))
    aws["extra"]["endpoint_url"] = sqs.endpoint
    warehouse["host"] = postgres.host
    changed = {"AIRFLOW_CONN_AWS_SQS": json.dumps(aws), "AIRFLOW_CONN_WAREHOUSE": json.dumps(warehouse)}
    return Proxies(sqs, postgres, airflow_connections | changed)


@pytest.fixture
def airflow_connections(airflow_home):
    """The environment variables of the connections, and what a forked process needs to find the code."""
    path = os.pathsep.join((str(PROJECT), str(PROJECT / "plugins")))
    connections = {name: value for name, value in airflow_home.items() if name.startswith("AIRFLOW_CONN_")}
    return connections | NO_PROXY | {"PYTHONPATH": path}


@pytest.fixture
def connected(airflow_connections, monkeypatch):
    """This process's connections are the sandbox's."""
    for name, value in airflow_connections.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def connected_through_proxies(proxies, monkeypatch):
    """This process's connections go through the proxies."""
    for name, value in proxies.environment.items():
        monkeypatch.setenv(name, value)
    return proxies

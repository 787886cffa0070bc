"""One sandbox for the session; a fresh warehouse and a fresh queue for each test that asks for them."""

import functools
import os
import secrets
import shutil
import tempfile
import uuid
from pathlib import Path

# Before anything imports Airflow: its home must not be the user's. Nobody listens at that database's
# address, so what passes in this process needs none.
os.environ.update(
    AIRFLOW_HOME=tempfile.mkdtemp(prefix="airflow-home-"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql+psycopg2://nobody@127.0.0.1:1/none",
)

import pytest
from botocore.loaders import JSONFileLoader

from include.privacy.masking import read_keyring
from sandbox import servers as sandbox_servers
from sandbox.airflow import migrate_metadata
from sandbox.environment import airflow_environment
from sandbox.servers import free_port
from tests.support.warehouses import make_empty

pytest_plugins = ["tests.support.fixtures", "tests.support.recovery", "tests.support.stacks"]
LOCAL_SETTINGS = Path(__file__).parent / "support" / "airflow_local_settings.py"

# Each client parses a megabyte of botocore's JSON again, which would be most of what a thousand short runs cost.
_load_file = functools.cache(JSONFileLoader().load_file)
JSONFileLoader.load_file = lambda self, path: _load_file(path)


def pytest_collection_modifyitems(items):
    """The system tests first: their files take longest, and one that came last would leave the other process idle."""
    items.sort(key=lambda item: item.path.parent.name != "system")


@pytest.fixture(scope="session")
def local(tmp_path_factory):
    """The embedded Postgres and the local SQS server."""
    home = tmp_path_factory.mktemp("sandbox")
    with sandbox_servers.servers(home) as servers:
        yield servers


@pytest.fixture
def empty_warehouse(local):
    """A warehouse database with nothing in it but the rights that the pipeline's role needs."""
    make_empty(local)
    return local


@pytest.fixture
def warehouse(empty_warehouse):
    """A connection to a fresh warehouse, as the pipeline has it: its role, and autocommit."""
    with empty_warehouse.connect(user="pipeline") as connection:
        connection.prepare_threshold = None
        yield connection


@pytest.fixture
def sqs(local):
    return local.client()


@pytest.fixture
def queue_url(sqs):
    """A fresh queue, without a dead-letter queue."""
    url = sqs.create_queue(QueueName=f"queue-{uuid.uuid4().hex}")["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


@pytest.fixture(scope="session")
def airflow_home(local):
    """The environment of Airflow's processes, whose metadata database is ready."""
    environment = airflow_environment(local, port=free_port())
    migrate_metadata(environment)
    config = Path(environment["AIRFLOW_HOME"]) / "config"
    config.mkdir(exist_ok=True)
    shutil.copy(LOCAL_SETTINGS, config)
    return environment


@pytest.fixture
def environment(airflow_home, queue_url):
    """The same, with this test's own queue."""
    return airflow_home | {"AIRFLOW_VAR_USER_LOGINS_QUEUE_URL": queue_url}


@pytest.fixture
def keyring():
    return read_keyring(secrets.token_urlsafe(32))

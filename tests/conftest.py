"""One sandbox for the session; a fresh warehouse and a fresh queue for each test that asks for them."""

import os
import secrets
import uuid

# Before anything imports Airflow: its home must not be the user's, and needs no database here.
os.environ.update(AIRFLOW__CORE__LOAD_EXAMPLES="False", AIRFLOW__CORE__UNIT_TEST_MODE="False")

import pytest

from include.masking import read_keyring
from sandbox import servers as sandbox_servers
from sandbox.servers import RIGHTS


@pytest.fixture(scope="session")
def local(tmp_path_factory):
    """The embedded Postgres and the local SQS server."""
    home = tmp_path_factory.mktemp("sandbox")
    with sandbox_servers.servers(home) as servers:
        yield servers


@pytest.fixture
def empty_warehouse(local):
    """A warehouse database with nothing in it but the rights that the pipeline's role needs."""
    with local.connect("postgres") as connection:
        connection.execute("drop database if exists warehouse with (force)")
        connection.execute("create database warehouse")
    with local.connect() as connection:
        connection.execute(RIGHTS.read_bytes())
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


@pytest.fixture
def keyring():
    return read_keyring(secrets.token_urlsafe(32))

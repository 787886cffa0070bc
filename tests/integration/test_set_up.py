"""What is wrong with a connection or the variable is one sentence, before any message is taken."""

import json
import traceback
from datetime import UTC, datetime

import psycopg
import pytest

from include.failures import SetupError
from include.pipeline import drain, merge, set_up
from include.sqs import backlog
from include.staging import Drain
from include.window import Window
from sandbox.events import sample_events, send
from sandbox.servers import free_port


@pytest.fixture
def connections(environment, monkeypatch):
    """Set this process's connections to the sandbox's; call it to change some, None to remove one."""

    def change(**changed):
        for name, value in changed.items():
            if value is None:
                monkeypatch.delenv(f"AIRFLOW_CONN_{name.upper()}")
            else:
                monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(value))

    for name, value in environment.items():
        if name.startswith("AIRFLOW_CONN_"):
            monkeypatch.setenv(name, value)
    return change


def check(queue_url, **options):
    return set_up(queue_url, **{"source": "queue", "window": None} | options)


def test_a_good_set_up_names_the_queue(empty_warehouse, connections, queue_url):
    assert check(queue_url) == queue_url


def test_a_rebuild_needs_neither_queue_nor_key(empty_warehouse, connections):
    connections(aws_sqs=None, pii_masking=None)
    assert check("", window=Window(None, None)) is None


@pytest.mark.parametrize("table", ["login_etl.staging_logins", "public.user_logins"])
def test_a_database_error_quotes_no_row(warehouse, connections, sqs, queue_url, table):
    check(queue_url)
    send(sqs, queue_url, iter(['{"user_id": "somebody", "ip": "192.0.2.1"}']))
    warehouse.execute(f"alter table {table} add constraint nobody check (user_id <> 'somebody')")
    with pytest.raises(psycopg.errors.CheckViolation, match='violates check constraint "nobody"') as caught:  # noqa: PT012
        drain({"messages": 1, "threads": 1}, queue_url, drain=Drain("a run", 0, 1, datetime.now(UTC)), seconds=60)
        merge("a run", window=None, drained=[])
    assert "somebody" not in "".join(traceback.format_exception(caught.value))


WAREHOUSE = {"conn_type": "postgres", "login": "x", "schema": "x", "host": "127.0.0.1", "port": free_port()}


@pytest.mark.parametrize(
    ("changed", "error", "sentence"),
    [
        ({"pii_masking": None}, SetupError, "connection pii_masking is not defined: add it"),
        ({"pii_masking": {"password": "secret-key"}}, SetupError, "connection pii_masking: key 1 is not base64url"),
        ({"warehouse": None}, SetupError, "connection warehouse is not defined: add it"),
        ({"warehouse": {"conn_type": "mysql"}}, SetupError, "connection warehouse has type mysql: set it to postgres"),
        ({"warehouse": WAREHOUSE}, ConnectionError, "connection warehouse: connection failed: .* refused"),
        ({"aws_sqs": None}, SetupError, "connection aws_sqs is not defined: add it"),
        ({"aws_sqs": {"conn_type": "http"}}, SetupError, "connection aws_sqs has type http: set it to aws"),
        (
            {"aws_sqs": {"conn_type": "aws", "login": "x", "password": "secret-key"}},
            SetupError,
            "connection aws_sqs: You must specify a region",
        ),
        (
            {"aws_sqs": {"conn_type": "aws", "login": "x", "extra": {"region_name": "eu-west-1"}}},
            SetupError,
            "connection aws_sqs: no credentials found",
        ),
    ],
)
def test_each_failure_names_what_to_mend(
    empty_warehouse, connections, sqs, queue_url, monkeypatch, changed, error, sentence
):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    send(sqs, queue_url, sample_events(10, 1))
    connections(**changed)
    with pytest.raises(error, match=sentence) as caught:
        check(queue_url)
    assert "\n" not in str(caught.value)
    assert "secret-key" not in str(caught.value)
    assert backlog(sqs, queue_url) == 10

"""Failures do not tell what messages said: no log, no callback, not Airflow's database, nor Postgres's own log."""

import json
import os
import resource
import traceback
from contextlib import contextmanager

import pytest
from psycopg.errors import CheckViolation

from include import pipeline
from sandbox.events import send
from tests.support.leaks import everywhere, leaks
from tests.support.queues import send_events
from tests.support.runs import A_RUN
from tests.support.worker import exit_code, run
from tests.system.test_airflow import run_dag

USER, ADDRESS, DEVICE = "canary-user", "203.0.113.99", "111-22-3333"
EVENT = {"user_id": USER, "device_type": "canary-type", "ip": ADDRESS, "device_id": DEVICE, "locale": "XX-canary"}
VALUES = {USER, "canary-type", "XX-canary", ADDRESS, DEVICE}
TALKATIVE = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_error_verbosity": "verbose",
    "log_min_messages": "debug1",
}
# What a user's own alerting might do with a failure: write down all that Airflow tells it.
CALLBACK = """
import traceback
from pathlib import Path

import tests.support.airflow_local_settings

def write_down(context):
    error = context["exception"]
    told = [repr(error), *traceback.format_exception(error), repr(vars(error)), repr(dict(context))]
    with (Path(__file__).parent / "callback.log").open("a") as log:
        log.write("\\n".join(told))

def task_policy(task):
    task.on_failure_callback = task.on_retry_callback = [write_down]
"""


@contextmanager
def talkative(local):
    """Postgres logs all it can: every statement, with its parameters, also of those that fail."""
    with local.connect() as server:
        for name, value in TALKATIVE.items():
            server.execute(f"alter system set {name} = '{value}'".encode())
        server.execute("select pg_reload_conf()")
        try:
            yield
        finally:
            server.execute("alter system reset all")
            server.execute("select pg_reload_conf()")


@pytest.fixture
def watched(empty_warehouse, environment, connected, queue_url, tmp_path):
    """An Airflow with a callback that tells all; the warehouse is set up."""
    pipeline.check_setup(A_RUN, queue_url, source="queue", window=None)
    (tmp_path / "airflow_local_settings.py").write_text(CALLBACK)
    path = os.pathsep.join((str(tmp_path), environment["PYTHONPATH"]))
    # DEV makes Airflow's tracebacks show local variables; in wide lines, so that no value is broken in two.
    return environment | {"PYTHONPATH": path, "DEV": "1", "COLUMNS": "1000"}


@pytest.mark.parametrize(
    ("table", "action", "sentence"),
    [
        # Postgres refuses a value of the row while it reads the COPY.
        ("login_etl.staging_logins", "alter column device_type type varchar(2)", "StringDataRightTruncation"),
        ("public.user_logins", "add constraint nobody check (user_id = '')", "public.user_logins refuses 1 rows"),
    ],
)
def test_a_failing_copy_and_a_failing_merge(
    empty_warehouse, watched, sqs, queue_url, tmp_path, table, action, sentence
):
    with empty_warehouse.connect() as owner:
        owner.execute(f"alter table {table} {action}".encode())
    send(sqs, queue_url, iter([json.dumps(EVENT)]))
    log = empty_warehouse.home / "postgres" / "log"
    before = log.stat().st_size
    with talkative(empty_warehouse):
        code, output = run_dag(watched)
    assert code != 0
    assert sentence in output
    told = (tmp_path / "callback.log").read_bytes()
    assert sentence.encode() in told
    logged = log.read_bytes()[before:]
    assert b"insert into login_etl.batches" in logged
    assert b"value too long for type" in logged or b"public.user_logins" in logged

    places = everywhere(empty_warehouse, watched) | {"the output": output.encode(), "the callback": told}
    key = empty_warehouse.masking_key()
    assert leaks(places, [ADDRESS, DEVICE, key]) == []
    silent = {"the output": output.encode(), "the callback": told}
    if (
        table == "login_etl.staging_logins"
    ):  # of a row that public.user_logins refuses Postgres logs what the table holds
        silent["Postgres's log"] = logged
    assert leaks(silent, VALUES) == []


def test_an_answer_that_cannot_be_read(empty_warehouse, watched, proxies, sqs, queue_url, tmp_path):
    """Not even where Airflow shows local variables, and whole messages are in them."""

    def forget_attributes(call):
        call.forward()
        for message in call.answer.get("Messages", []):
            del message["Attributes"]

    proxies.sqs.fault = forget_attributes
    send(sqs, queue_url, iter([json.dumps(EVENT)]))
    code, output = run_dag(watched | {"AIRFLOW_CONN_AWS_SQS": proxies.environment["AIRFLOW_CONN_AWS_SQS"]})
    assert code != 0
    assert "gives messages without a UUID, SentTimestamp or ApproximateReceiveCount" in output
    told = (tmp_path / "callback.log").read_bytes()
    places = everywhere(empty_warehouse, watched) | {"the output": output.encode(), "the callback": told}
    del places["Postgres's log"]  # which knows nothing of it, but something of earlier tests
    assert leaks(places, VALUES) == []


def test_a_failing_copy_that_a_constraint_refuses(empty_warehouse, watched, sqs, queue_url):
    """Then Postgres logs the row, as it would be in the table: masked."""
    with empty_warehouse.connect() as owner:
        owner.execute("alter table login_etl.staging_logins add constraint nobody check (user_id = 'made-up')")
    send(sqs, queue_url, iter([json.dumps(EVENT)]))
    with talkative(empty_warehouse), pytest.raises(CheckViolation) as caught:
        run(queue_url, "a run", 1)
    logged = (empty_warehouse.home / "postgres" / "log").read_bytes()
    assert leaks({"Postgres's log": logged}, [ADDRESS, DEVICE]) == []
    assert leaks({"the error": "".join(traceback.format_exception(caught.value)).encode()}, VALUES) == []


def drain_without_a_limit(queue_url):
    """Let core files be allowed, and fail unless the drain has forbidden them."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    run(queue_url, "a run", 10)
    assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0


def test_a_drain_leaves_no_core_file(empty_warehouse, airflow_connections, sqs, queue_url):
    send_events(sqs, queue_url, "user")
    assert exit_code(airflow_connections, drain_without_a_limit, queue_url) == 0

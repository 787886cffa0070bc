"""Two Celery workers, as on two machines, drain side by side; one of them dies in the middle."""

import json
import os
import time
from contextlib import suppress

import psutil
import psycopg
import pytest

from benchmarks.sqs_stub import sqs_stub
from sandbox.airflow import COMPONENTS, components, migrate_metadata
from sandbox.environment import airflow_environment
from sandbox.servers import free_port
from tests.support.programs import running

DATABASE = "airflow_on_celery"
MESSAGES = 50_000
LOGINS = MESSAGES * 99 // 100
DELAY = 0.2  # of each call to SQS, in seconds, so that a drain takes long enough to be killed in its middle
DRAINS = 4
WORKERS = {
    f"worker-{number}": ["airflow", "celery", "worker", "--celery-hostname", f"worker-{number}", "--skip-serve-logs"]
    for number in (1, 2)
}
DRAINING = "select count(distinct map_index) from login_etl.batches where deleted > 0"
RUN = "select run_id, state from dag_run where dag_id = 'user_logins' order by id limit 1"
TRIES = (
    "select try_number, state from task_instance where task_id = 'drain_and_mask' and run_id = %s order by try_number"
)
# The next try need not wait until SQS shows the messages again: the test does that at once.
NO_DELAY = """
from datetime import timedelta

import tests.support.airflow_local_settings

def task_policy(task):
    task.retry_delay = timedelta(seconds=1)
"""


@pytest.fixture
def redis(tmp_path):
    """The URL of a broker that keeps nothing on disk."""
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with running("redis-server", *options, port=port, log=tmp_path / "redis.log"):
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture
def stub():
    with sqs_stub() as stub:
        stub.load(MESSAGES, delay=DELAY)
        yield stub


@pytest.fixture
def environment(local, redis, stub, tmp_path):
    """CeleryExecutor that soon notices when a worker is gone, two tasks at a time on each, and no runs yet."""
    (tmp_path / "airflow_local_settings.py").write_text(NO_DELAY)
    with local.connect("postgres") as connection:
        connection.execute(f"create database {DATABASE}".encode())
    environment = airflow_environment(local, port=free_port())
    aws = json.loads(environment["AIRFLOW_CONN_AWS_SQS"])
    aws["extra"]["endpoint_url"] = stub.endpoint
    environment |= {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://postgres@/{DATABASE}?host={local.postgres}",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": redis,
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(DRAINS // len(WORKERS)),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW_CONN_AWS_SQS": json.dumps(aws),
        "AIRFLOW_VAR_USER_LOGINS_QUEUE_URL": stub.queue_url,
        "PYTHONPATH": os.pathsep.join((str(tmp_path), environment["PYTHONPATH"])),
    }
    migrate_metadata(environment)
    return environment


def wait_until(answer, seconds):
    deadline = time.monotonic() + seconds
    while not answer():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def lose(worker):
    """SIGKILL a worker and all that it started, whatever its process group, as when its machine is gone."""
    machine = psutil.Process(worker.pid)
    for process in [machine, *machine.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def test_a_worker_that_dies_among_two_loses_and_doubles_nothing(empty_warehouse, environment, stub):
    def all_drain():
        with suppress(psycopg.errors.UndefinedTable):
            return warehouse.execute(DRAINING).fetchone() == (DRAINS,)

    def ended():
        return metadata.execute(RUN).fetchone()[1] in ("success", "failed")

    with (
        empty_warehouse.connect() as warehouse,
        empty_warehouse.connect(DATABASE) as metadata,
        components(environment, COMPONENTS | WORKERS) as processes,
    ):
        wait_until(all_drain, 180)
        lose(processes["worker-1"])
        assert stub.state()["visible"] > MESSAGES // 10
        assert stub.state()["hidden"] > 0
        stub.show_again()
        wait_until(ended, 240)
        run_id, state = metadata.execute(RUN).fetchone()
        tries = metadata.execute(TRIES, [run_id]).fetchall()
        assert state == "success", tries
        assert tries == [(1, "success"), (1, "success"), (2, "success"), (2, "success")]

        # As many ids as messages in the two tables together: each is there, once.
        ids = "select message_id from public.user_logins union all select message_id from login_etl.rejected_messages"
        counts = warehouse.execute(f"select count(*), count(distinct message_id) from ({ids})").fetchone()
        assert counts == (MESSAGES, MESSAGES)
        assert warehouse.execute("select count(*) from public.user_logins").fetchone() == (LOGINS,)
        history = warehouse.execute("select inserted, unbalanced_batches from login_etl.history").fetchall()
        assert history == [(LOGINS, None)]
    assert stub.state()["visible"] == stub.state()["hidden"] == 0

"""Against a real scheduler: a scheduled run, a backfill of it, runs triggered through the REST API."""

import json
import os
import shutil
import subprocess
import threading
import time
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from include.sqs.calls import Queue, backlog
from sandbox.airflow import components
from sandbox.events import sample_events, send
from tests.support.leaks import everywhere, leaks
from tests.support.queues import show_again
from tests.support.recovery import landed_by_the_log
from tests.support.sinks import Smtp, by_mail, sink, text_of
from tests.support.sqs_proxy import Call

RUNS = "/api/v2/dags/user_logins/dagRuns"
CHECKS = "/api/v2/dags/check_user_logins/dagRuns"
ROWS = "select * from public.user_logins order by message_id"


class Airflow:
    """The REST API, and the command line, of the components under test."""

    def __init__(self, environment, mails):
        self.environment, self.mails = environment, mails

    def ask(self, path, body=None):
        request = urllib.request.Request(
            self.environment["AIRFLOW__API__BASE_URL"] + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def trigger(self, runs=RUNS, **params):
        return self.ask(runs, {"logical_date": None, "conf": params})["dag_run_id"]

    def wait(self, seconds=240, runs=RUNS, state="success", **wanted):
        """The first run with these properties that has ended; it must be a success, or what `state` says."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for run in self.ask(f"{runs}?order_by=run_after&limit=100")["dag_runs"]:
                if all(run[name] == value for name, value in wanted.items()) and run["state"] in ("success", "failed"):
                    tasks = self.ask(f"{runs}/{run['dag_run_id']}/taskInstances")["task_instances"]
                    states = {task["task_id"]: task["state"] for task in tasks}
                    assert run["state"] == state, states
                    return run, states
            time.sleep(1)
        raise AssertionError(f"no run with {wanted} ended within {seconds} seconds")

    def counts(self, run):
        """The counts in the newest asset event of a run."""
        events = self.ask("/api/v2/assets/events?order_by=-timestamp")["asset_events"]
        return next(event["extra"] for event in events if event["source_run_id"] == run["dag_run_id"])


# The test lets the queue show its messages again at once, so that the retry need not wait for that.
NO_DELAY = """
from datetime import timedelta

import tests.support.airflow_local_settings

def task_policy(task):
    task.retry_delay = timedelta(seconds=1)
"""


@pytest.fixture
def scheduler(empty_warehouse, environment, proxies, sqs, queue_url, tmp_path):
    """Its DAG's first drain task is killed when it deletes the first messages that it has landed."""

    def kill_the_drain(call):
        if call.operation == "DeleteMessageBatch" and proxies.sqs.received:
            proxies.sqs.fault = Call.forward
            killed.set()
            call.kill()
        call.forward()

    killed = threading.Event()
    proxies.sqs.fault = kill_the_drain
    send(sqs, queue_url, sample_events(100, 1))
    (tmp_path / "airflow_local_settings.py").write_text(NO_DELAY)
    path = os.pathsep.join((str(tmp_path), proxies.environment["PYTHONPATH"]))
    environment = environment | proxies.environment | {"PYTHONPATH": path}
    with sink(Smtp) as (port, mails):
        environment["AIRFLOW_CONN_USER_LOGINS_ALERTS"] = by_mail(port)
        with components(environment | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG"}):
            assert killed.wait(120)
            show_again(sqs, queue_url, proxies.sqs.handles())
            yield Airflow(environment, mails)


def look_at_the_checks(scheduler, warehouse):
    """What is loaded is an event, upon which it is checked."""
    _, states = scheduler.wait(runs=CHECKS, run_type="asset_triggered")
    assert states == {"count_faults": "success", "check_faults": "success"}
    checked = "select bool_and(passed), max(checked) from login_etl.data_checks where name like 'masks_%'"
    assert warehouse.execute(checked).fetchall() == [(True, 99)]


def look_at_the_log_without_the_warehouse(scheduler, warehouse, folder):
    """Should the warehouse be lost, the logs of its runs say what was landed, but for what a killed drain did last."""
    logs = Path(scheduler.environment["AIRFLOW_HOME"], "logs", "dag_id=user_logins")
    for (run_id,) in warehouse.execute("select distinct run_id from login_etl.batches"):
        shutil.copytree(logs / f"run_id={run_id}", folder / "logs" / run_id)
    known = "select batch_id, received, staged, rejected, deleted from login_etl.batches where deleted is not null"
    assert landed_by_the_log(folder / "logs", folder) == warehouse.execute(f"{known} order by 1").fetchall() != []


def fail_and_look_at_the_mails(scheduler, warehouse):
    """A run that fails is told by mail; one that fails with the same sentence right after it is not."""
    warehouse.execute("update public.user_logins set masked_ip = 'misplaced' where batch_id > 3")
    first = scheduler.trigger(CHECKS)
    scheduler.wait(runs=CHECKS, dag_run_id=first, state="failed")
    scheduler.wait(runs=CHECKS, dag_run_id=scheduler.trigger(CHECKS), state="failed")
    half = scheduler.trigger(rebuild_from="2026-01-01T00:00:00Z")
    scheduler.wait(dag_run_id=half, state="failed")
    warehouse.execute("update public.user_logins set masked_ip = null where masked_ip = 'misplaced'")
    logs = Path(scheduler.environment["AIRFLOW_HOME"], "logs", "dag_processor")
    quiet = "no alert: the run before failed with the same sentence"
    wait_until(lambda: any(quiet in path.read_text() for path in logs.rglob("*.log") if path.is_file()))
    wait_until(lambda: len(scheduler.mails) == 2)
    assert [mail["To"] for mail in scheduler.mails] == ["oncall@example.com"] * 2
    assert [mail["Subject"] for mail in scheduler.mails] == [
        "check_user_logins failed: failed checks: masks_are_masks, masks_have_the_key",
        "user_logins failed: params rebuild_from and rebuild_to: set both to rebuild, or neither to drain the queue",
    ]
    assert f"run {first}, task check_faults, try 1" in text_of(scheduler.mails[0])
    address = scheduler.environment["AIRFLOW__API__BASE_URL"]
    assert f"Log: {address}/dags/user_logins/runs/{quote(half, safe='')}/tasks/check_setup\n" in text_of(
        scheduler.mails[1]
    )


def wait_until(is_so, seconds=60):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_scheduled_backfill_and_triggered_runs(scheduler, local, warehouse, sqs, queue_url, tmp_path):
    # A scheduled run loads what is on the queue; what its killed task had landed is there once.
    scheduled, states = scheduler.wait(run_type="scheduled")
    assert set(states.values()) == {"success"}
    assert len(warehouse.execute(ROWS).fetchall()) == 99
    counts = scheduler.counts(scheduled)
    assert (counts["merged_batches"], counts["inserted"]) == (3, 99)
    assert counts["already_there"] in (9, 10)  # one message is a bad one
    assert warehouse.execute("select received, deleted, deletes_unknown from login_etl.history").fetchall() == [
        (110, 100, 10)
    ]
    look_at_the_checks(scheduler, warehouse)

    # Let some users have been sent in that run's interval, the others after it; then damage some rows, and lose others.
    start, stop = (datetime.fromisoformat(scheduled[f"data_interval_{end}"]) for end in ("start", "end"))
    assert stop - start == timedelta(minutes=5)
    for users, sent_at in (("user_id < '8'", start), ("user_id >= '8'", stop)):
        warehouse.execute(f"update login_etl.staging_logins set sent_at = %s where {users}", [sent_at])
        warehouse.execute(
            f"update public.user_logins set create_date = (%s at time zone 'UTC')::date where {users}", [sent_at]
        )
    whole = warehouse.execute(ROWS).fetchall()
    early, late = [row for row in whole if row[0] < "8"], [row for row in whole if row[0] >= "8"]
    assert len(early) > 10
    assert len(late) > 10
    warehouse.execute("delete from public.user_logins where message_id = any(%s)", [[early[0][7], early[1][7]]])
    warehouse.execute("delete from public.user_logins where message_id = %s", [late[0][7]])
    warehouse.execute("update public.user_logins set masked_ip = 'x' where message_id = %s", [early[2][7]])
    warehouse.execute("update public.user_logins set locale = 'x' where message_id = %s", [late[1][7]])
    damaged = {row[7]: row for row in warehouse.execute(ROWS)}

    # A backfill of the interval restores its rows, and only those, and takes nothing from the queue.
    send(sqs, queue_url, sample_events(10, 2))
    command = ["airflow", "backfill", "create", "--dag-id", "user_logins", "--reprocess-behavior", "completed"]
    dates = ["--from-date", start.isoformat(), "--to-date", start.isoformat()]
    subprocess.run([*command, *dates], env=os.environ | scheduler.environment, check=True, capture_output=True)
    backfill, states = scheduler.wait(run_type="backfill")
    assert states == {
        "check_setup": "success",
        "wait_for_messages": "success",
        "plan_drain": "success",
        "drain_and_mask": "removed",  # the scheduled run had one, this one needs none
        "merge_user_logins": "success",
        "check_run": "success",
    }
    restored = {row[7]: row for row in early}
    loaded = {row[7]: row for row in whole}
    present = {row[7]: row for row in warehouse.execute(ROWS) if row[7] in loaded}
    assert present == damaged | restored
    counts = scheduler.counts(backfill)
    assert counts["rebuilt"] == 3
    batches = warehouse.execute("select count(*) from login_etl.batches where run_id = %s", [backfill["dag_run_id"]])
    assert batches.fetchone() == (3,)  # the scheduled run's own, which the backfill has become

    # A run triggered without a logical date drains the rest.
    triggered, _ = scheduler.wait(dag_run_id=scheduler.trigger(max_messages=500))
    assert triggered["logical_date"] is None
    assert backlog(Queue(sqs, queue_url)) == 0
    assert warehouse.execute("select count(*) from public.user_logins where batch_id > 3").fetchone() == (10,)

    fail_and_look_at_the_mails(scheduler, warehouse)

    look_at_the_log_without_the_warehouse(scheduler, warehouse, tmp_path)

    # Nothing raw is left in the databases or in any log.
    events = [json.loads(body) for seed in (1, 2) for body in sample_events(100, seed)]
    raw = {event[field] for event in events for field in ("ip", "device_id") if field in event}
    places = everywhere(local, scheduler.environment)
    assert any(place.endswith("attempt=1.log") for place in places)
    places |= {f"mail {number}": mail.as_bytes() for number, mail in enumerate(scheduler.mails)}
    assert leaks(places, {*raw, "misplaced", local.masking_key()}) == []

    # A run triggered with a range rebuilds the rest.
    _, states = scheduler.wait(
        dag_run_id=scheduler.trigger(rebuild_from=stop.isoformat(), rebuild_to=(stop + timedelta(hours=1)).isoformat())
    )
    assert states["drain_and_mask"] == "skipped"
    assert [row for row in warehouse.execute(ROWS) if row[7] in loaded] == whole

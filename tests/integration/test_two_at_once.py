"""Whatever runs at the same time, the table is the same as when it runs one after the other."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from include import pipeline
from include.batches.rebuild import rebuild
from include.batches.window import Window
from include.events.message import Origin, Run
from include.events.version import pack_version
from include.privacy.masking import read_keyring
from include.warehouse.setup import prepare_warehouse
from sandbox.events import sample_events, send
from tests.support.merging import REBUILD, merge
from tests.support.queues import left_on
from tests.support.runs import A_RUN
from tests.support.worker import exit_code, run

ROWS = (
    "select user_id, device_type, masked_ip, masked_device_id, locale, app_version "
    "from public.user_logins order by user_id"
)
AGES = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@pytest.fixture
def expected(empty_warehouse, connected, sqs, queue_url):
    """A queue with 200 events on it, and the rows that they become."""
    pipeline.check_setup(A_RUN, queue_url, source="queue", window=None)
    bodies = list(sample_events(200, 7))
    send(sqs, queue_url, iter(bodies))
    keyring = read_keyring(empty_warehouse.masking_key())
    return sorted(
        (
            event["user_id"],
            event["device_type"],
            keyring.mask(event["ip"], field="ip"),
            keyring.mask(event["device_id"], field="device_id"),
            event["locale"],
            pack_version(event["app_version"]),
        )
        for event in map(json.loads, bodies)
        if "user_id" in event
    )


def at_once(*steps):
    with ThreadPoolExecutor(len(steps)) as pool:
        for future in [pool.submit(*step) for step in steps]:
            assert future.result() in (0, None)


def drain_all(queue_url, run_id):
    task = Origin(Run("user_logins", run_id), 0, 1, datetime.now(UTC))
    counts = pipeline.drain_and_mask({"messages": 200, "threads": 4}, queue_url, origin=task, seconds=30)
    pipeline.merge_user_logins(task.run)
    pipeline.check_run(task.run, "queue", queue_url, drained=[counts])


def test_two_runs(empty_warehouse, airflow_connections, expected, sqs, queue_url):
    """In processes of their own, as Airflow's tasks are; each merges what the other has staged."""
    at_once(*((exit_code, airflow_connections, drain_all, queue_url, run_id) for run_id in ("one", "another")))
    with empty_warehouse.connect() as warehouse:
        assert warehouse.execute(ROWS).fetchall() == expected
        assert warehouse.execute("select sum(batches - merged_batches) from login_etl.history").fetchone() == (0,)
        assert (
            warehouse.execute("select * from login_etl.history where unbalanced_batches is not null").fetchall() == []
        )
        assert warehouse.execute("select sum(received - deleted) from login_etl.history").fetchone() == (0,)
    assert left_on(sqs, queue_url) == 0


def test_a_run_and_a_backfill(empty_warehouse, expected, sqs, queue_url):
    """A rebuild after the other while a run drains, merges, and rows of it are lost again."""

    def backfill(stop=timedelta(seconds=3)):
        end = datetime.now(UTC) + stop
        with empty_warehouse.connect(user="pipeline") as warehouse:
            while datetime.now(UTC) < end:
                rebuild(warehouse, AGES, run=REBUILD)

    def lose_rows():
        with empty_warehouse.connect() as warehouse:
            for digit in "0123456789abcdef":
                warehouse.execute("delete from public.user_logins where starts_with(user_id, %s)", [digit])

    def run_in_parts():
        for part in range(10):
            run(queue_url, f"run {part}", 20)

    at_once((run_in_parts,), (backfill,), (lose_rows,))
    with empty_warehouse.connect() as warehouse:
        rebuild(warehouse, AGES, run=REBUILD)
        assert warehouse.execute(ROWS).fetchall() == expected
    assert left_on(sqs, queue_url) == 0


def test_merges_and_a_backfill(empty_warehouse, expected, queue_url):
    for part in range(10):
        pipeline.drain_and_mask(
            {"messages": 20, "threads": 1},
            queue_url,
            origin=Origin(Run("user_logins", "a run"), part, 1, datetime.now(UTC)),
            seconds=30,
        )

    def step(work):
        with empty_warehouse.connect(user="pipeline") as warehouse:
            work(warehouse)

    at_once(*[(step, merge)] * 3, *[(step, lambda warehouse: rebuild(warehouse, AGES, run=REBUILD))] * 2)
    with empty_warehouse.connect() as warehouse:
        assert warehouse.execute(ROWS).fetchall() == expected
        sums = warehouse.execute("select inserted, already_there, unbalanced_batches from login_etl.history").fetchall()
        assert sums == [(198, 0, None)]


def test_set_ups(empty_warehouse):
    def step():
        with empty_warehouse.connect(user="pipeline") as warehouse:
            prepare_warehouse(warehouse)

    at_once(*[(step,)] * 6)
    with empty_warehouse.connect() as warehouse:
        partitions = warehouse.execute("select count(*) from pg_inherits where inhparent::regclass::text ~ '_?logins$'")
        assert partitions.fetchone() == (6,)

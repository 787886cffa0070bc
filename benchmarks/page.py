"""The page in Airflow's UI, the metrics and a look-up, after a month; and what the plugin adds to a task's start."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import psycopg
from fastapi.testclient import TestClient

from benchmarks.bench import Bench, interleaved
from benchmarks.figures import Figure, Section, Table, absolute, number
from benchmarks.overhead import ROUNDS
from benchmarks.rotation import timed
from include.batches.shared import count_shared
from include.batches.totals import add_up_batches
from include.connections import warehouse_connection
from include.page.app import build
from include.page.messages import find_message
from include.page.metrics import exposition
from include.page.reading import reading
from include.page.view import look
from include.warehouse.partitions import make_partition, make_partitions, staging_day
from sandbox.history import write_history
from sandbox.servers import PROJECT

DAYS, BATCHES, LOGINS, REJECTS = 30, 100_000, 1_000_000, 60_000
RANGES = {"24h": "24 hours", "30d": "30 days"}
# What a task process has imported when it loads plugins.
TASK = """
import os
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = {folder!r}
from airflow.sdk.execution_time import task_runner
from airflow.sdk.plugins_manager import integrate_macros_plugins
"""
STAGE = """
insert into login_etl.staging_logins
select
    batch_id, (staged_at at time zone 'UTC')::date, message_id, oldest_sent_at, user_id, device_type, masked_ip,
    masked_device_id, locale, '2.3.0', app_version
from public.user_logins
inner join login_etl.batches using (batch_id)
"""
TABLES = (
    "public.user_logins, login_etl.staging_logins, login_etl.batches, login_etl.rejected_messages, "
    "login_etl.queue_depths, login_etl.shared_masks, login_etl.totals, login_etl.rejected_totals"
)


class Timed(psycopg.Cursor[Any]):
    """A cursor that adds up how long the warehouse takes to answer."""

    seconds = 0.0

    def execute(self, *query: Any, **options: Any) -> Self:
        """As the parent."""
        started = time.perf_counter()
        try:
            return super().execute(*query, **options)
        finally:
            Timed.seconds += time.perf_counter() - started


def section(bench: Bench) -> Section:
    """Fill a month; ask for the page over a day and over all of it, for metrics, for messages; then start tasks."""
    with bench.connect() as warehouse, bench.connect() as reader:  # which writes nothing any more
        _fill(bench, warehouse)
        scrape = partial(timed, lambda: exposition(reader))
        rounds = bench.size(11, 1)
        scrapes = {"before": _median(rounds, scrape)}
        count_shared(warehouse)
        pages = {name: _page(reader, name, rounds) for name in RANGES}
        found = _look_up(reader, bench.size(50, 1))
        add_up_batches(warehouse)
        scrapes["after"] = _median(rounds, scrape)
        _empty(warehouse)
    day = pages["24h"]
    rows = [[RANGES[name], *(number(value) for value in values.values())] for name, values in pages.items()]
    return Section(
        [
            absolute("the page's queries, 24 hours of 100 000 batches", None, day["queries, ms"], "ms", at_most=100),
            absolute("the page's size", None, day["size, kB"], "kB", at_most=100),
            absolute("looking up a message among 1 million", None, found, "ms", at_most=20),
            absolute("a scrape of the metrics of 100 000 batches", None, scrapes["after"], "ms", at_most=50),
            absolute("the same before any of them are in totals", None, scrapes["before"], "ms", at_most=50),
            _start_of_a_task(bench),
        ],
        [Table(("page over", *day), rows)],
    )


def _fill(bench: Bench, warehouse: psycopg.Connection) -> None:
    """A month, of which staging still has all."""
    now = datetime.now(UTC)
    _empty(warehouse)
    make_partitions(warehouse, (now - timedelta(days=DAYS)).date())
    for age in range(DAYS + 1):
        make_partition(warehouse, staging_day((now - timedelta(days=age)).date()))
    warehouse.execute("set synchronous_commit = off")
    batches = bench.size(BATCHES, BATCHES // 1000)
    write_history(
        warehouse,
        days=DAYS,
        batches=batches,
        logins=LOGINS // BATCHES,
        logins_a_reject=LOGINS / REJECTS,
        queue=bench.stub.queue_url,
    )
    warehouse.execute(STAGE)
    warehouse.execute(f"vacuum (analyze) {TABLES}".encode())


def _empty(warehouse: psycopg.Connection) -> None:
    warehouse.execute(f"truncate {TABLES}".encode())


def _page(warehouse: psycopg.Connection, name: str, rounds: int) -> dict[str, float]:
    """Milliseconds in queries, to collect the page's data, and until a browser has it; and how large it is."""

    def queries() -> float:
        Timed.seconds = 0.0
        look(warehouse, name)
        return Timed.seconds

    app = build(
        require_access=lambda: None,
        require_edit=lambda: None,
        open_warehouse=warehouse_connection,
        metrics_secret=str,
        mounted_at="/user-logins",
    )
    warehouse.cursor_factory = Timed
    with TestClient(app) as browser:
        answer = browser.get(f"/?range={name}")
        if "Not shown" in answer.text or not answer.is_success:
            raise RuntimeError("the page lacks a part")
        taken = interleaved(
            rounds,
            queries=queries,
            data=lambda: timed(lambda: look(warehouse, name)),
            answer=lambda: timed(lambda: browser.get(f"/?range={name}")),
        )
    return {
        "queries, ms": taken["queries"] * 1000,
        "data, ms": taken["data"] * 1000,
        "whole answer, ms": taken["answer"] * 1000,
        "size, kB": len(answer.content) / 1000,
    }


def _look_up(warehouse: psycopg.Connection, messages: int) -> float:
    """Milliseconds for one message: the slowest kind of loaded, rejected and unknown ones."""

    def seconds(message_id: UUID) -> float:
        with reading(warehouse):
            return timed(lambda: find_message(warehouse, message_id))

    kinds = (
        *(_some(warehouse, table, messages) for table in ("public.user_logins", "login_etl.rejected_messages")),
        [uuid4() for _ in range(messages)],
    )
    return max(statistics.median(map(seconds, kind)) for kind in kinds) * 1000


def _some(warehouse: psycopg.Connection, table: str, messages: int) -> list[UUID]:
    query = f"select message_id from {table} order by message_id limit {messages}"  # noqa: S608 - ours; random as they are
    return [message_id for (message_id,) in warehouse.execute(query.encode())]


def _median(rounds: int, seconds: Callable[[], float]) -> float:
    """Milliseconds, after a round that is not counted."""
    return statistics.median([seconds() for _ in range(1 + rounds)][1:]) * 1000


def _start_of_a_task(bench: Bench) -> Figure:
    """What loading the plugins takes a task, with ours and with none; CPU time."""
    empty = bench.local.home / "no_plugins"
    empty.mkdir(exist_ok=True)

    def load(folder: Path) -> float:
        return bench.cpu(TASK.format(folder=str(folder)), "integrate_macros_plugins()") * 1000

    taken = interleaved(bench.size(ROUNDS, 1), without=partial(load, empty), ours=partial(load, PROJECT / "plugins"))
    what = "a task's start with the plugin beyond one without"
    return absolute(what, taken["without"], taken["ours"], "ms", at_most=20, beyond=taken["without"])

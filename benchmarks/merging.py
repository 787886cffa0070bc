"""The merge into tables that grow, in one month's partition or over two years of them."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from uuid import uuid4

import psycopg

from benchmarks.bench import Bench, make_warehouse
from benchmarks.figures import Chart, Section, Series, Table, growth, number
from include.batches.merge import merge_user_logins
from include.warehouse.partitions import make_partitions

ROWS, BATCHES = 10_000, 10  # as a drain stages them
SIZES = {"empty": 0, "100 000": 100_000, "1 million": 1_000_000, "10 million": 10_000_000}
LARGEST = 10_000_000
MONTHS = 24
HEADERS = ("table", "median, ms", "the first one after a checkpoint, ms")
WARM_UPS = 3
ROUNDS = 9

# As wide as real rows; the message ids are random, as those of SQS.
LOAD = """
insert into public.user_logins
select
    repeat('u', 36), 'android', repeat('a', 73), repeat('b', 73), 'RU', 2003000,
    %(first)s::date + floor(random() * %(days)s)::int, gen_random_uuid(), 0
from generate_series(1, %(rows)s)
"""
STAGE = """
with batch as (
    insert into login_etl.batches (
        run_id, map_index, try_number, kid, received, staged, rejected, oldest_sent_at, newest_sent_at, started_at
    )
    values ('benchmark', 0, 1, '00000000', %(rows)s, %(rows)s, 0, now(), now(), now())
    returning batch_id, (staged_at at time zone 'UTC')::date as staged_on
)
insert into login_etl.staging_logins (
    batch_id, staged_on, message_id, sent_at,
    user_id, device_type, masked_ip, masked_device_id, locale, app_version_text, app_version
)
select
    batch_id, staged_on, gen_random_uuid(), %(first)s::timestamp at time zone 'UTC' + random() * %(span)s,
    repeat('u', 36), 'android', repeat('a', 73), repeat('b', 73), 'RU', '2.3.0', 2003000
from batch, generate_series(1, %(rows)s)
"""
INDEXES = """
select schemaname, indexname, indexdef from pg_indexes
where schemaname = 'public' and tablename = 'user_logins' and indexname <> 'user_logins_pkey'
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A warehouse of its own, with `rows` logins from `oldest` to noon of `last`; merged are those since `newest`."""

    label: str
    dbname: str
    rows: int
    oldest: date
    last: date
    newest: date


def section(bench: Bench) -> Section:
    """Fill the tables, let them settle, then merge into each in turn."""
    last = datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
    month = last.replace(day=1)
    years = (month - timedelta(days=31 * (MONTHS - 1) - 15)).replace(day=1)
    sizes = [
        Target(label, f"rows_{rows}", bench.size(rows, rows // 1000), month, last, last)
        for label, rows in SIZES.items()
    ]
    largest = bench.size(LARGEST, LARGEST // 1000)
    spread = Target(f"{MONTHS} months", "months", largest, years, last, last)
    for target in (*sizes, spread):
        make_warehouse(bench, target.dbname)
    _patient_checkpoints(bench)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(partial(fill, bench), (sizes[-1], spread, *sizes[:-1])))
    with bench.local.connect("postgres") as connection:
        connection.execute("checkpoint")
    everywhere = Target("24 months, sent in all of them", "months", largest, years, last, years)
    times: dict[str, list[float]] = defaultdict(list)
    # The last one by itself: it reads as much of the index as shared buffers hold, and would push the others out.
    for targets in ([*sizes, spread], [everywhere]):
        for _ in range(bench.size(WARM_UPS + ROUNDS, 2)):
            for target in targets:
                times[target.label].append(merge_once(bench, target))
    warm = bench.size(WARM_UPS, 1)
    millis = {label: statistics.median(taken[warm:]) * 1000 for label, taken in times.items()}
    first = {label: taken[0] * 1000 for label, taken in times.items()}
    for target in (*sizes, spread):
        with bench.local.connect("postgres") as connection:
            connection.execute(f"drop database {target.dbname} with (force)".encode())
    into_large, into_months = (
        "merging 10 000 rows into 10 million against an empty table",
        "the same into 24 monthly partitions against one",
    )
    large = millis[sizes[-1].label]
    lines = [
        Series("after a checkpoint", [first[label] for label in SIZES], dashed=True),
        Series("median", [millis[label] for label in SIZES]),
    ]
    return Section(
        [
            growth(into_large, millis[sizes[0].label], large, "ms", at_most=1.3),
            growth(into_months, large, millis[spread.label], "ms", at_most=1.2),
        ],
        [Table(HEADERS, [[label, number(millis[label]), number(first[label])] for label in millis])],
        Chart("performance-merge", "Milliseconds to merge 10 000 rows", "rows that are there", list(SIZES), lines),
    )


def _patient_checkpoints(bench: Bench) -> None:
    """No checkpoint of its own while we fill or measure, and no vacuum in between."""
    with bench.local.connect("postgres") as connection:
        for setting in ("max_wal_size = '32GB'", "checkpoint_timeout = '1h'", "autovacuum = off"):
            connection.execute(f"alter system set {setting}".encode())
        connection.execute("select pg_reload_conf()")


def fill(bench: Bench, target: Target) -> None:
    """Load the table without its index, then build that, load half of the last day, and vacuum."""
    with bench.connect(target.dbname) as warehouse:
        warehouse.execute("set synchronous_commit = off")
        month = target.oldest
        while month <= target.last:
            make_partitions(warehouse, month)
            month = (month + timedelta(days=31)).replace(day=1)
        indexes = warehouse.execute(INDEXES).fetchall()
        warehouse.execute("alter table public.user_logins drop constraint user_logins_pkey")
        for schema, name, _ in indexes:
            warehouse.execute(f"drop index {schema}.{name}".encode())
        days = (target.last - target.oldest).days
        today = target.rows // (2 * days + 1)
        warehouse.execute(LOAD, {"rows": target.rows - today, "first": target.oldest, "days": days})
        for _, _, definition in indexes:
            warehouse.execute(definition.replace(" ON ONLY ", " ON ").encode())
        warehouse.execute("alter table public.user_logins add primary key (create_date, message_id)")
        # The last day grows with its index, as it does by merges; pages of an index that was just built are all full.
        warehouse.execute(LOAD, {"rows": today, "first": target.last, "days": 1})
        warehouse.execute("vacuum (analyze, freeze) public.user_logins")


def merge_once(bench: Bench, target: Target) -> float:
    """Seconds in which one batch of new rows, staged before, is merged."""
    with bench.connect(target.dbname) as warehouse:
        if not target.rows:
            warehouse.execute("truncate public.user_logins")
        return _staged_and_merged(warehouse, target, bench.size(ROWS, 100))


def _staged_and_merged(warehouse: psycopg.Connection, target: Target, rows: int) -> float:
    warehouse.execute("truncate login_etl.staging_logins")
    span = target.last + timedelta(days=1) - target.newest
    for _ in range(BATCHES):
        warehouse.execute(STAGE, {"rows": rows // BATCHES, "first": target.newest, "span": span})
    warehouse.execute("analyze login_etl.staging_logins")
    started = time.perf_counter()
    merged = merge_user_logins(warehouse, str(uuid4()))
    seconds = time.perf_counter() - started
    if merged.inserted != rows:
        raise RuntimeError(f"{merged.inserted} of {rows} rows were merged")
    return seconds

"""A rotation of the masking key against one bare UPDATE of the same columns, and what the fence costs who stages."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from unittest.mock import patch
from uuid import uuid4

import psycopg

from benchmarks.bench import Bench, interleaved, this_origin
from benchmarks.figures import Section, Table, growth, number, speed
from include.batches import staging
from include.batches.rotation import rewrap_user_logins, switch_masking_key
from include.events.login import Login
from include.events.message import Message
from include.privacy.fence import begin_masking
from include.privacy.masking import Keyring

ROWS, DEVICES = 500_000, 50_000
BATCH = 1_000
COPY = (
    "copy public.user_logins (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, "
    "message_id, batch_id) from stdin"
)
# As much as can be had without a key: the same two columns of each row, of the same length, in one statement.
FLOOR = (
    "update public.user_logins set masked_ip = reverse(masked_ip), masked_device_id = reverse(masked_device_id) "
    "where masked_ip is not null or masked_device_id is not null"
)


def section(bench: Bench) -> Section:
    """Load, rotate, and the same with the bare UPDATE; then stage with the fence and without it."""
    old = bench.keyring()
    new = Keyring([old.key(old.kid), secrets.token_bytes(32)])
    rows = bench.size(ROWS, 1_000)
    with bench.connect() as warehouse:
        taken: dict[str, list[float]] = {"update": [], "rotation": []}
        wal: list[int] = []
        for _ in range(bench.size(3, 1)):
            load(bench, warehouse, old, rows)
            taken["update"].append(timed(lambda: warehouse.execute(FLOOR)))
            load(bench, warehouse, old, rows)
            switch_masking_key(warehouse, new)
            before = wal_position(warehouse)
            taken["rotation"].append(timed(partial(rewrap_user_logins, warehouse, new)))
            wal.append(wal_position(warehouse) - before)
        rates = {name: rows / statistics.median(seconds) for name, seconds in taken.items()}
        cost = fence(bench, warehouse)
    facts = [
        ("rows a second", number(rates["rotation"])),
        ("10 million rows, minutes", number(10_000_000 / rates["rotation"] / 60)),
        ("WAL a row, bytes", number(statistics.median(wal) / rows)),
    ]
    return Section(
        [
            speed(
                "rotating user_logins against a bare update", rates["update"], rates["rotation"], "rows/s", at_least=0.5
            ),
            growth(
                "staging 1 000 logins with the fence against without",
                cost["without"] * 1000,
                cost["with"] * 1000,
                "ms",
                at_most=1.02,
            ),
        ],
        [Table(("a rotation", ""), facts)],
    )


def load(bench: Bench, warehouse: psycopg.Connection, keyring: Keyring, rows: int) -> None:
    """So many logins in this month, masked with the old key; each device has ten."""
    bench.empty()
    warehouse.execute("truncate login_etl.masking")
    begin_masking(warehouse, keyring)
    today, devices = datetime.now(UTC).date(), max(1, rows * DEVICES // ROWS)
    with warehouse.cursor().copy(COPY) as copy:
        for row in range(rows):
            ip = keyring.mask(f"10.{row >> 16 & 255}.{row >> 8 & 255}.{row & 255}", field="ip")
            device = keyring.mask(f"device {row % devices}", field="device_id")
            copy.write_row((f"user {row}", "android", ip, device, "RU", 2_003_000, today, uuid4(), 1))
    warehouse.execute("vacuum (analyze) public.user_logins")


def fence(bench: Bench, warehouse: psycopg.Connection) -> dict[str, float]:
    """Seconds to stage a batch with the fence and without it: the medians of rounds that take turns."""
    keyring, now = bench.keyring(), datetime.now(UTC)
    load(bench, warehouse, keyring, rows=0)  # what follows, here and elsewhere, has the old key
    logins = [(Message(uuid4(), now, 1, ""), Login("user", ip="192.0.2.1", device_id="d")) for _ in range(BATCH)]
    open_fence = partial(patch.object, staging, "pass_fence", lambda _: None)

    def stage(guard: Callable[[], object]) -> float:
        with guard():  # type: ignore[attr-defined]
            return timed(lambda: staging.stage(warehouse, logins, [], keyring=keyring, origin=this_origin()))

    variants = {"with": partial(stage, nullcontext), "without": partial(stage, open_fence)}
    return interleaved(bench.size(101, 1), **variants)


def timed(step: Callable[[], object]) -> float:
    """The seconds that it took."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def wal_position(warehouse: psycopg.Connection) -> int:
    """How many bytes of WAL were written so far."""
    [(position,)] = warehouse.execute("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint").fetchall()
    return int(position)

"""COPY against the hook's insert_rows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import uuid4

import psycopg
from airflow.providers.postgres.hooks.postgres import PostgresHook

from benchmarks.bench import Bench, interleaved, this_drain
from benchmarks.figures import Section, speed
from include.connections import WAREHOUSE
from include.login import Login, parse
from include.masking import Keyring
from include.sqs import Message
from include.staging import stage
from include.version import pack_version
from sandbox.events import sample_events

ROWS = 10_000
TABLE = "login_etl.staging_logins"
COLUMNS = (
    "batch_id",
    "staged_on",
    "message_id",
    "sent_at",
    "user_id",
    "device_type",
    "masked_ip",
    "masked_device_id",
    "locale",
    "app_version_text",
    "app_version",
)


def section(bench: Bench) -> Section:
    """The same rows into the same table, both ways."""
    keyring = bench.keyring()
    logins = _logins(bench.size(ROWS, 100))
    rows = [_row(message, login, keyring) for message, login in logins]
    hook: Any = PostgresHook(WAREHOUSE)

    def insert_rows() -> float:
        bench.empty()
        started = time.perf_counter()
        hook.insert_rows(TABLE, rows, target_fields=COLUMNS)
        return time.perf_counter() - started

    def copy(warehouse: psycopg.Connection) -> float:
        bench.empty()
        started = time.perf_counter()
        stage(warehouse, logins, [], keyring=keyring, drain=this_drain())
        return time.perf_counter() - started

    with bench.connect() as warehouse:
        seconds = interleaved(bench.size(7, 1), floor=insert_rows, ours=lambda: copy(warehouse))
    name = "landing by COPY against insert_rows, 10 000 rows"
    floor, ours = (len(rows) / seconds[variant] for variant in ("floor", "ours"))
    return Section([speed(name, floor, ours, "rows/s", at_least=5)])


def _logins(count: int) -> list[tuple[Message, Login]]:
    now = datetime.now(UTC)
    bodies = (body for body in sample_events(2 * count, seed=3) if "user_id" in body)
    return [(Message(uuid4(), now, 1, body), parse(body)) for body in islice(bodies, count)]


def _row(message: Message, login: Login, keyring: Keyring) -> tuple[object, ...]:
    return (
        1,
        message.sent_at.date(),
        message.message_id,
        message.sent_at,
        login.user_id,
        login.device_type,
        keyring.mask(login.ip, field="ip"),
        keyring.mask(login.device_id, field="device_id"),
        login.locale,
        login.app_version,
        None if login.app_version is None else pack_version(login.app_version),
    )

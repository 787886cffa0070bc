"""Forgetting one person among many rows, against bare UPDATEs by user id; and searching rejected bodies."""

from __future__ import annotations

import json
import logging
import statistics
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg

from benchmarks.bench import Bench, this_origin
from benchmarks.figures import Section, Table, number, speed
from benchmarks.rotation import load, timed
from include.batches import erasure
from include.batches.rejected import Selection, next_page
from include.batches.staging import stage
from include.events.login import RejectedMessage
from include.events.message import Message
from include.privacy.erasures import ask_erasure
from include.privacy.masking import Keyring
from include.privacy.sealing import unseal
from include.warehouse.partitions import staging_day

ROWS, BODIES, BATCH = 1_000_000, 100_000, 1_000
# As much as can be had by knowing the user id only: not by messages, unlocked, unchecked, untold.
FLOOR = """
update public.user_logins set user_id = null, masked_ip = null, masked_device_id = null where user_id = '{user}';
update login_etl.staging_logins set user_id = null, masked_ip = null, masked_device_id = null where user_id = '{user}'
"""
STAGE = """
insert into {partition} (batch_id, staged_on, message_id, sent_at, user_id, masked_ip, masked_device_id)
select 1, (now() at time zone 'UTC')::date, message_id, now() - interval '1 hour', user_id, masked_ip, masked_device_id
from public.user_logins
"""


def section(bench: Bench) -> Section:
    """Users of one row each, of a table and of staging; bodies that each name another user."""
    keyring = bench.keyring()
    rows, bodies, rounds = bench.size(ROWS, 1_000), bench.size(BODIES, 100), bench.size(5, 1)
    logging.getLogger("include").setLevel(logging.WARNING)
    with bench.connect() as warehouse, bench.local.connect() as officer:
        load(bench, warehouse, keyring, rows)
        partition = staging_day(datetime.now(UTC).date())
        warehouse.execute(STAGE.format(partition=f"login_etl.{partition.name}").encode())
        warehouse.execute("vacuum (analyze) login_etl.staging_logins, public.user_logins")
        bare, ours = [], []
        for turn in range(rounds):
            bare.append(timed(lambda: warehouse.execute(FLOOR.format(user=f"user {2 * turn}").encode())))  # noqa: B023
            ours.append(timed(lambda: _erase(warehouse, officer, keyring, f"user {2 * turn + 1}")))  # noqa: B023
        bench.empty()
        _reject(warehouse, keyring, bodies)
        opened = timed(lambda: _open(warehouse, keyring))
        ids = _raise(warehouse, officer, keyring, "user 1")
        searched = timed(lambda: erasure.forget_bodies(warehouse, keyring, ids))
        warehouse.execute("truncate login_etl.erased_users")  # what follows has none
    logging.getLogger("include").setLevel(logging.NOTSET)
    facts = [
        (f"one person among {rows:,} rows of user_logins and of staging, seconds", number(statistics.median(ours))),
        ("a million rejected bodies, seconds", number(searched / bodies * 1_000_000)),
    ]
    return Section(
        [
            speed(
                "erasing a person among 1 million rows against bare updates",
                1 / statistics.median(bare),
                1 / statistics.median(ours),
                "a second",
                at_least=0.25,
            ),
            speed(
                "searching rejected bodies against opening them",
                bodies / opened,
                bodies / searched,
                "bodies/s",
                at_least=0.5,
            ),
        ],
        [Table(("an erasure", ""), facts)],
    )


def _raise(warehouse: psycopg.Connection, officer: psycopg.Connection, keyring: Keyring, user: str) -> list[int]:
    """Ask for a person to be forgotten, and raise the tombstone; the number of the erasure."""
    ask_erasure(officer, case_number="bench", user_id=user)
    [(newest,)] = officer.execute("select max(erasure_id) from privacy.erasures").fetchall()
    erasure.raise_tombstones(warehouse, keyring, [newest])
    return [newest]


def _erase(warehouse: psycopg.Connection, officer: psycopg.Connection, keyring: Keyring, user: str) -> None:
    erasure.erase_rows(warehouse, keyring, _raise(warehouse, officer, keyring, user), {})


def _reject(warehouse: psycopg.Connection, keyring: Keyring, bodies: int) -> None:
    """So many rejected messages, as long as logins are."""
    sent = datetime.now(UTC) - timedelta(hours=1)
    for start in range(0, bodies, BATCH):
        events = [
            {"user": f"user {n}", "app_version": "2.3.0", "ip": "199.172.111.135", "device_id": "593-47-5928"}
            for n in range(start, min(start + BATCH, bodies))
        ]
        rejects = [
            (Message(uuid4(), sent, 1, json.dumps(event)), RejectedMessage([("user_id", "missing")]))
            for event in events
        ]
        stage(warehouse, [], rejects, keyring=keyring, origin=this_origin())


def _open(warehouse: psycopg.Connection, keyring: Keyring) -> None:
    last = None
    while page := next_page(warehouse, Selection(limit=10**9), last):
        for each in page:
            unseal(each.sealed_body, key=keyring.key(each.kid), message_id=each.message_id)
        last = page[-1]

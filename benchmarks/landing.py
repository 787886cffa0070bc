"""COPY against the hook's insert_rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any
from uuid import uuid4

from airflow.providers.postgres.hooks.postgres import PostgresHook

from benchmarks.bench import Bench, interleaved, this_origin
from benchmarks.figures import Section, Table, number, speed
from include.batches.staging import COLUMNS, Batch, stage, staging_row
from include.connections import WAREHOUSE
from include.events.login import Login, parse
from include.events.message import Message
from include.privacy.masking import Keyring, PiiField
from sandbox.events import sample_events

ROWS = 10_000
TABLE = "login_etl.staging_logins"


class Unmasked(Keyring):
    """A keyring that costs next to nothing."""

    def mask_canonical(self, canonical: str | None, *, field: PiiField) -> str | None:  # noqa: ARG002 - the parent's signature
        """The value, as long as a mask; the parent's mask is most of what landing one costs."""
        return None if canonical is None else canonical.rjust(73)


def section(bench: Bench) -> Section:
    """The same rows into the same table, both ways; and once more with the masking that a drain does on the way."""
    keyring = bench.keyring()
    logins = _logins(bench.size(ROWS, 100))
    unmasked = Unmasked([keyring.key(keyring.kid)])
    batch = Batch(1, datetime.now(UTC).date(), keyring.kid, received=len(logins), staged=len(logins), rejected=0)
    rows = [
        staging_row(
            batch,
            message,
            login,
            login.user_id,
            unmasked.mask(login.ip, field="ip"),
            unmasked.mask(login.device_id, field="device_id"),
        )
        for message, login in logins
    ]
    hook: Any = PostgresHook(WAREHOUSE)

    def timed(land: Callable[[], object]) -> float:
        bench.empty()
        started = time.perf_counter()
        land()
        return time.perf_counter() - started

    def copy(keyring: Keyring) -> Callable[[], object]:
        return lambda: stage(warehouse, logins, [], keyring=keyring, origin=this_origin())

    with bench.connect() as warehouse:
        variants: dict[str, Callable[[], object]] = {
            "insert_rows": lambda: hook.insert_rows(TABLE, rows, target_fields=list(COLUMNS)),
            "stage": copy(unmasked),
            "stage, with masking": copy(keyring),
        }
        measures = {name: partial(timed, land) for name, land in variants.items()}
        rates = {name: len(rows) / seconds for name, seconds in interleaved(bench.size(7, 1), **measures).items()}
    what = "landing by COPY against insert_rows, 10 000 rows"
    return Section(
        [speed(what, rates["insert_rows"], rates["stage"], "rows/s", at_least=5)],
        [Table(("", "rows a second"), [[name, number(rate)] for name, rate in rates.items()])],
    )


def _logins(count: int) -> list[tuple[Message, Login]]:
    now = datetime.now(UTC)
    bodies = (body for body in sample_events(2 * count, seed=3) if "user_id" in body)
    messages = [Message(uuid4(), now, 1, body) for body in islice(bodies, count)]
    return [(message, parse(message)) for message in messages]

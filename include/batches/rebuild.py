"""The rebuild: rows of `user_logins` that were lost or wrongly computed are restored from staging."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import asdict
from datetime import UTC

import psycopg

from include.batches.refusals import MAX_REFUSED, is_refusal, reason_of
from include.batches.window import Window
from include.events.message import Run
from include.warehouse.locks import take_turn
from include.warehouse.partitions import staging_days
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)


def rebuild(connection: psycopg.Connection, window: Window, *, run: Run) -> int:
    """Bring back, from what staging still holds, the rows whose messages were sent in the window.

    Returns how many rows were missing or wrong, in all tries of the run; those that were right are not touched. Warns
    where the window begins before staging does. A row that the table refuses is left out, with those of the same
    millisecond, up to 100 such; beyond, psycopg's error. `login_etl.rebuilds` keeps which run did what, in the
    transactions that did it.
    """
    days = staging_days(connection)
    if days and window.start.astimezone(UTC).date() < days[0].day:
        log.warning(
            "staging begins on %s: of messages sent before that, only those staged since then can be rebuilt",
            days[0].day,
        )
    with transaction(connection):
        [(oldest, newest)] = connection.execute(statement("batches/staged_range")).fetchall()
        begun = asdict(run) | {"start": window.start, "stop": window.stop}
        [(rebuild_id,)] = connection.execute(statement("batches/begin_rebuild"), begun).fetchall()
    refused = 0
    parts = deque(window.slices(oldest, newest))
    while parts:
        part = parts.popleft()
        try:
            _rebuild_part(connection, part, rebuild_id)
        except psycopg.Error as error:
            if not is_refusal(error) or refused == MAX_REFUSED:
                raise
            if halves := part.halves():
                parts.extendleft(reversed(halves))
                continue
            refused += 1
            log.warning("not rebuilt, because user_logins refuses it: sent at %s: %s", part.start, reason_of(error))
    with transaction(connection):
        connection.execute(statement("batches/end_rebuild"), {"rebuild_id": rebuild_id, "refused": refused})
        [(rebuilt,)] = connection.execute(statement("batches/rebuilt_by_run"), asdict(run)).fetchall()
    log.info("rebuilt %d rows sent from %s to %s", rebuilt, window.start, window.stop)
    return int(rebuilt)


def _rebuild_part(connection: psycopg.Connection, part: Window, rebuild_id: int) -> None:
    """Rebuild a part of the window, and record how many rows that were, in one transaction."""
    with transaction(connection):
        take_turn(connection, "login_etl.merge")
        connection.execute(statement("batches/check_constraints_now"))
        bounds = {"start": part.start, "stop": part.stop}
        rows = connection.execute(statement("batches/rebuild"), bounds).rowcount
        connection.execute(statement("batches/record_rebuild"), {"rebuild_id": rebuild_id, "rows": rows})

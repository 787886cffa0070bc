"""The rebuild: rows of `user_logins` that were lost or wrongly computed are restored from staging."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import asdict
from datetime import UTC

import psycopg

from include.batches.refusals import MAX_REFUSED, NOT_STORED
from include.batches.window import Window
from include.events.message import Run
from include.warehouse.errors import is_refusal, reason_of
from include.warehouse.locks import take_turn
from include.warehouse.partitions import staging_days
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)


class RebuildRefused(Exception):
    """The table refuses more than single rows; the message gives the reason of one."""


def rebuild(connection: psycopg.Connection, window: Window, *, run: Run) -> int:
    """Bring back, from what staging still holds, the rows whose messages were sent in the window.

    Returns how many rows were missing or wrong, in all tries of the run; those that were right are not touched. Warns
    where the window begins before staging does. A row that the table refuses is left out, with those of the same
    millisecond, up to 100 such; beyond, RebuildRefused. `login_etl.rebuilds` keeps which run did what, in the
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
        reason = _rebuild_part(connection, part, rebuild_id)
        if reason and (halves := part.halves()):
            parts.extendleft(reversed(halves))
        elif reason:
            refused += 1
            log.warning("not rebuilt, because user_logins refuses it: sent at %s: %s", part.start, reason)
            if refused > MAX_REFUSED:
                raise RebuildRefused(
                    f"user_logins refuses rows of more than {MAX_REFUSED} times: {reason}: fix it first"
                )
    with transaction(connection):
        connection.execute(statement("batches/end_rebuild"), {"rebuild_id": rebuild_id, "refused": refused})
        [(rebuilt,)] = connection.execute(statement("batches/rebuilt_by_run"), asdict(run)).fetchall()
    log.info("rebuilt %d rows sent from %s to %s", rebuilt, window.start, window.stop)
    return int(rebuilt)


def _rebuild_part(connection: psycopg.Connection, part: Window, rebuild_id: int) -> str:
    """Rebuild a part of the window, and record how many rows that were, in one transaction.

    All is rolled back, and the reason returned, where the table refuses a row, or a trigger discards it or changes
    its key.
    """
    bounds = {"start": part.start, "stop": part.stop}
    try:
        with transaction(connection):
            take_turn(connection, "login_etl.merge")
            connection.execute(statement("batches/check_constraints_now"))
            [(rows, astray)] = connection.execute(statement("batches/rebuild"), bounds).fetchall()
            if astray:
                raise psycopg.Rollback
            connection.execute(statement("batches/record_rebuild"), {"rebuild_id": rebuild_id, "rows": rows})
    except psycopg.Error as error:
        if not is_refusal(error):
            raise
        return reason_of(error)
    return NOT_STORED if astray else ""

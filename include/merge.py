"""The merge: every staged batch reaches `user_logins` exactly once. And the rebuild from staging."""

import logging
from dataclasses import dataclass

import psycopg

from include.statements import statement
from include.window import Window

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Merged:
    """What one merge did; `staged` = `inserted` + `already_there`."""

    batches: int = 0
    staged: int = 0
    inserted: int = 0
    already_there: int = 0


def merge_batches(connection: psycopg.Connection) -> Merged:
    """Merge every batch that is not merged yet, of whichever run, one transaction a batch.

    The connection must be in autocommit mode. The lock makes merges and rebuilds take turns, so that
    their inserts cannot deadlock. A message that is there already, from a redelivery or a retry, is
    left as it is.
    """
    total = Merged()
    while batch := _merge_next(connection):
        total = Merged(
            total.batches + batch.batches,
            total.staged + batch.staged,
            total.inserted + batch.inserted,
            total.already_there + batch.already_there,
        )
    return total


def _merge_next(connection: psycopg.Connection) -> Merged | None:
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(statement("lock"), {"name": "login_etl.merge"})
        row = cursor.execute(statement("next_batch")).fetchone()
        if row is None:
            return None
        batch_id, staged_on = row
        batch = {"batch_id": batch_id, "staged_on": staged_on}
        inserted = cursor.execute(statement("merge_batch"), batch).rowcount
        cursor.execute(statement("record_merge"), {**batch, "inserted": inserted})
        [(staged, inserted, already_there)] = cursor.fetchall()
    log.info("batch %d: %d inserted, %d already there", batch_id, inserted, already_there)
    return Merged(1, staged, inserted, already_there)


def rebuild(connection: psycopg.Connection, window: Window) -> int:
    """Bring back, from what staging still holds, the rows whose messages were sent in the window.

    Returns how many rows were missing or wrong; those that were right are not touched.
    """
    rebuilt = 0
    [(oldest, newest)] = connection.execute(statement("staged_range")).fetchall()
    for part in window.slices(oldest, newest):
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(statement("lock"), {"name": "login_etl.merge"})
            rebuilt += cursor.execute(statement("rebuild"), {"start": part.start, "stop": part.stop}).rowcount
    log.info("rebuilt %d rows sent from %s to %s", rebuilt, window.start, window.stop)
    return rebuilt

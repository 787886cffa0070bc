"""The merge: every staged row reaches `user_logins` exactly once.

Rows that the table refuses wait in `login_etl.refused_rows`, and each later run tries them again. A batch with more
than a hundred of them waits as a whole, unmerged, and each later run tries it again, once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg.rows import class_row
from tabulate import tabulate

from include.batches.refusals import MAX_REFUSED, BatchRefused, Inserted, Rows, insert_rows
from include.warehouse.errors import is_refusal, reason_of
from include.warehouse.locks import take_turn
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)

# How many rows that are refused again a run tries: each costs two statements, and those left come first in the next.
MAX_REFUSED_AGAIN = 200


class LostRows(Exception):
    """Staging does not hold the rows that a batch counts; the message has the numbers. All is left as it is."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a run has merged, in rows; `refused` of them wait."""

    batches: int = 0
    inserted: int = 0
    already_there: int = 0
    refused: int = 0


def merge_user_logins(connection: psycopg.Connection, merged_by: str) -> Merged:
    """Merge every batch that is not merged yet, of whichever run, and rows that were refused, one transaction a batch.

    Returns what the run `merged_by` has merged, in all its tries. The connection must be in autocommit
    mode. A message that is there already, from a redelivery or a retry, is left as it is. A row that the
    table refuses waits in staging and holds up no other. Nor does a batch that fails for a reason that may
    pass, such as a deadlock or a full disk: the first such error is raised once the others are merged, for a
    retry. Only a lost connection ends the loop, and a lock that somebody keeps: they would all wait for it,
    each as long.
    """
    with transaction(connection):
        unmerged = connection.execute(statement("batches/unmerged_batches")).fetchall()
        refused = connection.execute(statement("batches/refused_batches")).fetchall()
        [(look_up,)] = connection.execute(statement("batches/has_triggers")).fetchall()
    may_pass: list[psycopg.Error] = []
    limit_again = MAX_REFUSED
    for batch_id, refused_before in unmerged:
        limit = limit_again if refused_before else MAX_REFUSED
        with _passing_over(connection, batch_id, may_pass):
            merged = _merge_batch(connection, batch_id, merged_by, limit=limit, look_up=look_up)
            if refused_before and merged is None:
                limit_again = 0  # the others that were refused as a whole get one try, not one for each row
    refused_again = 0
    for (batch_id,) in refused:
        if refused_again >= MAX_REFUSED_AGAIN:
            break
        with _passing_over(connection, batch_id, may_pass):
            merged = _merge_batch(connection, batch_id, merged_by, limit=MAX_REFUSED, look_up=look_up)
            refused_again += merged.refused if merged else 0
    _warn_of_refused_rows(connection)
    if may_pass:
        raise may_pass[0]
    return merged_by_run(connection, merged_by)


def merged_by_run(connection: psycopg.Connection, merged_by: str) -> Merged:
    """What a run has merged, in all its tries, also where one of them died behind its last commit."""
    with transaction(connection), connection.cursor(row_factory=class_row(Merged)) as cursor:
        [merged] = cursor.execute(statement("batches/merged_by_run"), {"merged_by": merged_by}).fetchall()
    return merged


@contextmanager
def _passing_over(connection: psycopg.Connection, batch_id: int, may_pass: list[psycopg.Error]) -> Iterator[None]:
    """Let what concerns one batch be no matter for the others; errors that may pass are kept."""
    try:
        yield
    except LostRows as error:
        log.error("batch %d is not merged: %s", batch_id, error)  # noqa: TRY400
    except psycopg.Error as error:
        if connection.closed or isinstance(error, psycopg.errors.LockNotAvailable):
            raise
        log.warning("batch %d is not merged for now: %s", batch_id, reason_of(error))
        may_pass.append(error)


def _merge_batch(
    connection: psycopg.Connection, batch_id: int, merged_by: str, *, limit: int, look_up: bool
) -> Inserted | None:
    """Merge a batch or its refused rows and record the counts, in one transaction; None where it is refused as a whole.

    Nothing where another merge was faster.
    """
    try:
        with transaction(connection):
            # Merges and rebuilds take turns, so that their inserts cannot deadlock.
            take_turn(connection, "login_etl.merge")
            claimed = connection.execute(statement("batches/claim_batch"), {"batch_id": batch_id}).fetchone()
            if claimed is None:
                return Inserted(0)
            staged, staged_on, late, waiting = claimed
            message_ids = _refused_messages(connection, batch_id) if late else None
            expected = waiting if late else staged
            rows = Rows(batch_id, staged_on, message_ids)
            inserted = insert_rows(connection, rows, expected, limit=limit, look_up=look_up)
            if inserted.rows != expected:
                lost = f"it counts {expected} rows, but {inserted.rows} are in staging"
                if not late:
                    raise LostRows(lost)
                # Its other rows must not wait for those.
                log.error("batch %d does not add up any more: %s", batch_id, lost)
            if not late or inserted.refused < expected:
                _record(connection, rows, inserted, merged_by, late=late)
            else:
                _record_refused_rows(connection, rows, inserted)
    except BatchRefused as error:
        _record_refused_batch(connection, batch_id, merged_by, str(error))
        return None
    except psycopg.Error as error:
        if not is_refusal(error):
            raise
        _record_refused_batch(connection, batch_id, merged_by, reason_of(error))
        return None
    report = log.warning if inserted.refused and not late else log.info
    report("batch %d: %d inserted, %d already there, %d refused", batch_id, *inserted.counts)
    return inserted


def _refused_messages(connection: psycopg.Connection, batch_id: int) -> list[UUID]:
    """The messages of a merged batch that were refused."""
    query = statement("batches/refused_message_ids")
    return [message_id for (message_id,) in connection.execute(query, {"batch_id": batch_id})]


def _record(connection: psycopg.Connection, rows: Rows, inserted: Inserted, merged_by: str, *, late: bool) -> None:
    """Write what became of a batch's rows; `late`: of those that were refused before."""
    values = {
        "batch_id": rows.batch_id,
        "merged_by": merged_by,
        "inserted": inserted.inserted,
        "already_there": inserted.already_there,
        "refused": inserted.refused,
        "message_ids": list(inserted.reasons),
    }
    connection.execute(statement("batches/record_merge"), values)
    if late:
        connection.execute(statement("batches/record_late_merge"), values)
        connection.execute(statement("batches/forget_loaded_rows"), values)
    if inserted.reasons:
        _record_refused_rows(connection, rows, inserted)


def _record_refused_rows(connection: psycopg.Connection, rows: Rows, inserted: Inserted) -> None:
    """Write which rows wait, and why, and that they were tried now."""
    connection.execute(
        statement("batches/record_refused_rows"),
        {
            "batch_id": rows.batch_id,
            "staged_on": rows.staged_on,
            "message_ids": list(inserted.reasons),
            "reasons": list(inserted.reasons.values()),
        },
    )


def _record_refused_batch(connection: psycopg.Connection, batch_id: int, merged_by: str, reason: str) -> None:
    """Write that a batch is refused as a whole, and why, when that is new."""
    values = {"batch_id": batch_id, "merged_by": merged_by, "reason": reason}
    with transaction(connection):
        is_new = connection.execute(statement("batches/record_refused_batch"), values).rowcount
    if is_new:
        log.warning("batch %d is refused as a whole: %s", batch_id, reason)


def _warn_of_refused_rows(connection: psycopg.Connection) -> None:
    """Log what waits because the table refuses it, by reason."""
    with transaction(connection):
        waiting = connection.execute(statement("batches/refused_summary")).fetchall()
    if waiting:
        table = tabulate(waiting, ["reason", "rows", "batches"], intfmt=",")
        log.warning("public.user_logins refuses rows, which wait in staging; fix it, and they are loaded:\n%s", table)

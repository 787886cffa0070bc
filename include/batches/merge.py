"""The merge: every staged batch reaches `user_logins` exactly once. And the rebuild from staging."""

from __future__ import annotations

import logging
from dataclasses import astuple, dataclass
from datetime import UTC

import psycopg

from include.batches.window import Window
from include.warehouse.locks import take_turn
from include.warehouse.partitions import staging_days
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)

# What the table has against a row, by classes of SQLSTATE: values, constraints, rights and what is missing, check
# options, triggers (https://www.postgresql.org/docs/current/errcodes-appendix.html).
REFUSALS = {"22", "23", "42", "44", "P0"}


class RefusedError(Exception):
    """`user_logins` refuses batches, which stay in staging until somebody has fixed the table."""


class DiscardedRows(Exception):
    """Rows of a batch are in `user_logins` neither by this merge nor from before; the message counts them."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What one merge did; `staged` = `inserted` + `already_there`. `refused` says which batches it could not merge."""

    batches: int = 0
    staged: int = 0
    inserted: int = 0
    already_there: int = 0
    refused: tuple[str, ...] = ()

    def __add__(self, other: Merged) -> Merged:
        return Merged(*(mine + yours for mine, yours in zip(astuple(self), astuple(other), strict=True)))

    def check(self) -> None:
        """Raise RefusedError where batches could not be merged."""
        if self.refused:
            more = f" and {len(self.refused) - 1} more" if len(self.refused) > 1 else ""
            raise RefusedError(
                f"public.user_logins refuses {self.refused[0]}{more}: fix the table, and the next run merges them"
            )


def merge_user_logins(connection: psycopg.Connection) -> Merged:
    """Merge every batch that is not merged yet, of whichever run, one transaction a batch.

    The connection must be in autocommit mode. A message that is there already, from a redelivery or
    a retry, is left as it is. A batch that the table refuses stays in staging and holds up no other. Nor does
    one that fails for a reason that may pass, such as a deadlock or a full disk: the first such error is
    raised once the others are merged, for a retry. Only a lost connection ends the loop, and a lock that
    somebody keeps: they would all wait for it, each as long.
    """
    with transaction(connection):
        unmerged = connection.execute(statement("batches/unmerged_batches")).fetchall()
    total = Merged()
    may_pass: psycopg.Error | None = None
    for (batch_id,) in unmerged:
        try:
            total += _merge_batch(connection, batch_id)
        except DiscardedRows as error:
            total += Merged(refused=(f"batch {batch_id} ({error})",))
        except psycopg.Error as error:
            if connection.closed or isinstance(error, psycopg.errors.LockNotAvailable):
                raise
            if is_refusal(error):
                total += Merged(refused=(f"batch {batch_id} ({error.diag.message_primary})",))
            else:
                log.warning("batch %d is not merged for now: %s", batch_id, error.diag.message_primary)
                may_pass = may_pass or error
    if may_pass:
        raise may_pass
    return total


def is_refusal(error: psycopg.Error) -> bool:
    """Whether the table will say the same to the same row again, until somebody fixes the table."""
    if error.sqlstate is None:
        return False  # it is not the server's
    try:
        psycopg.errors.lookup(error.sqlstate)
    except KeyError:
        return True  # a trigger's own code
    return error.sqlstate[:2] in REFUSALS


def _merge_batch(connection: psycopg.Connection, batch_id: int) -> Merged:
    """Merge one batch and record its counts, in one transaction; nothing where another merge was faster.

    What was not inserted is looked up, not taken for a redelivery: DiscardedRows where it is not there.
    """
    with transaction(connection), connection.cursor() as cursor:
        # Merges and rebuilds take turns, so that their inserts cannot deadlock.
        take_turn(connection, "login_etl.merge")
        claimed = cursor.execute(statement("batches/claim_batch"), {"batch_id": batch_id}).fetchone()
        if claimed is None:
            return Merged()
        staged, staged_on = claimed
        batch = {"batch_id": batch_id, "staged_on": staged_on}
        inserted = cursor.execute(statement("batches/merge_batch"), batch).rowcount
        already_there = 0
        if inserted < staged:
            [(rows, found)] = cursor.execute(statement("batches/find_batch"), batch).fetchall()
            if found < rows:
                raise DiscardedRows(f"{rows - found} of {rows} rows are discarded by a trigger or a rule")
            already_there = found - inserted
        counts = {"batch_id": batch_id, "inserted": inserted, "already_there": already_there}
        cursor.execute(statement("batches/record_merge"), counts)
    log.info("batch %d: %d inserted, %d already there", batch_id, inserted, already_there)
    return Merged(1, staged, inserted, already_there)


def rebuild(connection: psycopg.Connection, window: Window, *, run_id: str) -> int:
    """Bring back, from what staging still holds, the rows whose messages were sent in the window.

    Returns how many rows were missing or wrong; those that were right are not touched. Warns where the
    window begins before staging does. `login_etl.rebuilds` keeps which run did what, in the transactions
    that did it.
    """
    rebuilt = 0
    days = staging_days(connection)
    if days and window.start.astimezone(UTC).date() < days[0].day:
        log.warning(
            "staging begins on %s: of messages sent before that, only those staged since then can be rebuilt",
            days[0].day,
        )
    with transaction(connection):
        [(oldest, newest)] = connection.execute(statement("batches/staged_range")).fetchall()
        begun = {"run_id": run_id, "start": window.start, "stop": window.stop}
        [(rebuild_id,)] = connection.execute(statement("batches/begin_rebuild"), begun).fetchall()
    for part in window.slices(oldest, newest):
        with transaction(connection), connection.cursor() as cursor:
            take_turn(connection, "login_etl.merge")
            rows = cursor.execute(statement("batches/rebuild"), {"start": part.start, "stop": part.stop}).rowcount
            cursor.execute(statement("batches/record_rebuild"), {"rebuild_id": rebuild_id, "rows": rows})
        rebuilt += rows
    with transaction(connection):
        connection.execute(statement("batches/end_rebuild"), {"rebuild_id": rebuild_id})
    log.info("rebuilt %d rows sent from %s to %s", rebuilt, window.start, window.stop)
    return rebuilt

"""What `user_logins` refuses: the other rows of a batch are inserted all the same.

    all rows ──refused──► one half, the other half ──refused──► … ──refused──► one row, which waits in refused_rows

Each part is inserted under a savepoint. Rows that a trigger or a rule discards without an error are found by looking
them up; then all is rolled back, with what the trigger did for them, and done again without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

import psycopg

from include.warehouse.ddl import function_behind
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

# What the table has against a row, by classes of SQLSTATE: what it cannot do, values, constraints, rights and what is
# missing, check options, triggers (https://www.postgresql.org/docs/current/errcodes-appendix.html).
REFUSALS = {"0A", "22", "23", "42", "44", "P0"}
MAX_REFUSED = 100  # rows of a batch; where there are more, the table is wrong, not a few rows
NOT_STORED = "not stored (trigger or rule)"


class BatchRefused(Exception):
    """More rows of a batch are refused than are sought one by one; the message is the reason of one of them."""


@dataclass(slots=True)
class Refused:
    """The messages that are refused, with the reasons, up to `limit` of them; BatchRefused beyond."""

    limit: int
    reasons: dict[UUID, str] = field(default_factory=dict)

    def add(self, message_ids: Iterable[UUID], reason: str) -> None:
        """These are refused as well."""
        self.reasons.update(dict.fromkeys(message_ids, reason))
        if len(self.reasons) > self.limit:
            raise BatchRefused(reason)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a batch that staging holds under these messages, or all of its rows."""

    batch_id: int
    staged_on: date
    message_ids: Sequence[UUID] | None = None


@dataclass(frozen=True, slots=True)
class Inserted:
    """What became of the rows of a batch; `reasons` are those of the refused ones, by message."""

    inserted: int
    already_there: int = 0
    refused: int = 0
    reasons: dict[UUID, str] = field(default_factory=dict)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Inserted, already there, refused."""
        return self.inserted, self.already_there, self.refused

    @property
    def rows(self) -> int:
        """How many rows these are."""
        return sum(self.counts)


def insert_rows(connection: psycopg.Connection, rows: Rows, expected: int, *, limit: int, look_up: bool) -> Inserted:
    """Insert the rows into `user_logins`, but for at most `limit` that it refuses; the caller has begun a transaction.

    What is not inserted is looked up, not taken for a redelivery; with `look_up` also where as many rows as
    `expected` were inserted, since a trigger may have changed their keys. Errors that may pass, such as a
    deadlock, are raised as they are.
    """
    connection.execute(statement("batches/check_constraints_now"))  # not at the commit, where no row could be spared
    refused = Refused(limit)
    while True:
        with transaction(connection):
            inserted = _insert_all_but(refused, connection, rows)
            if inserted == expected and not look_up:
                return Inserted(inserted)
            found, left_out, missing = _look_up(refused, connection, rows)
            if not missing:
                return Inserted(inserted, found - inserted, left_out, refused.reasons)
            raise psycopg.Rollback
        refused.add(missing, NOT_STORED)


def is_refusal(error: psycopg.Error) -> bool:
    """Whether the table will say the same to the same row again, until somebody fixes the table."""
    if error.sqlstate is None:
        return False  # it is not the server's
    try:
        psycopg.errors.lookup(error.sqlstate)
    except KeyError:
        return True  # a trigger's own code
    return error.sqlstate[:2] in REFUSALS


def reason_of(error: psycopg.Error) -> str:
    """The names of the error and of the constraint, column or function behind it: texts of triggers may quote the row.

    >>> reason_of(psycopg.errors.UniqueViolation())
    'UniqueViolation'
    """
    name = type(error).__name__ if type(error).sqlstate else f"error {error.sqlstate}"
    for kind, what in (
        ("constraint", error.diag.constraint_name),
        ("column", error.diag.column_name),
        ("function", function_behind(error)),
    ):
        if what:
            return f"{name} ({kind} {what})"
    return name


def _insert_all_but(refused: Refused, connection: psycopg.Connection, rows: Rows) -> int:
    """Insert the rows but for the refused ones, to which it adds; return how many were inserted."""
    inserted = 0
    parts = [rows.message_ids]
    while parts:
        part = parts.pop()
        try:
            with transaction(connection):
                values = _values(rows, part, refused)
                inserted += connection.execute(statement("batches/merge_rows"), values).rowcount
        except psycopg.Error as error:
            if not is_refusal(error):
                raise
            if not refused.limit:
                raise BatchRefused(reason_of(error)) from None
            if part and len(part) == 1:
                refused.add(part, reason_of(error))
            else:
                parts += _halves(part or _message_ids(refused, connection, rows))
    return inserted


def _halves(message_ids: Sequence[UUID]) -> list[Sequence[UUID]]:
    """Both halves, the first one last, since the last part is taken first; of one message only that."""
    middle = len(message_ids) // 2
    return [half for half in (message_ids[middle:], message_ids[:middle]) if half]


def _message_ids(refused: Refused, connection: psycopg.Connection, rows: Rows) -> list[UUID]:
    """The messages of all rows of a batch but the refused ones."""
    values = _values(rows, rows.message_ids, refused)
    return [message_id for (message_id,) in connection.execute(statement("batches/message_ids"), values)]


def _look_up(refused: Refused, connection: psycopg.Connection, rows: Rows) -> tuple[int, int, list[UUID]]:
    """How many rows are in `user_logins`, how many are refused, and which messages are neither."""
    values = _values(rows, rows.message_ids, refused)
    [(found, left_out, missing)] = connection.execute(statement("batches/find_rows"), values).fetchall()
    return found, left_out, missing


def _values(rows: Rows, message_ids: Sequence[UUID] | None, refused: Refused) -> dict[str, object]:
    """The parameters of the statements: the rows of a batch with these messages, or all, but for the refused ones."""
    return {
        "batch_id": rows.batch_id,
        "staged_on": rows.staged_on,
        "message_ids": None if message_ids is None else list(message_ids),
        "refused": list(refused.reasons) if message_ids is None or message_ids is rows.message_ids else [],
    }

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
from psycopg.rows import class_row

from include.warehouse.errors import is_refusal, reason_of
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

MAX_REFUSED = 100  # rows of a batch; where there are more, the table is wrong, not a few rows
NOT_STORED = "not stored (trigger or rule)"
OTHER_KEY = "stored under another key (trigger)"


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


@dataclass(frozen=True, slots=True)
class Found:
    """Of some rows: how many are in `user_logins`, under how many keys, how many are refused, and what is neither."""

    rows: int
    keys: int
    left_out: int
    missing: list[UUID]


def insert_rows(connection: psycopg.Connection, rows: Rows, expected: int, *, limit: int, look_up: bool) -> Inserted:
    """Insert the rows into `user_logins`, but for at most `limit` that it refuses; the caller has begun a transaction.

    What is not inserted is looked up, not taken for a redelivery; with `look_up` also where as many rows as
    `expected` were inserted, since a trigger may have changed their keys: where more were inserted than keys are new,
    BatchRefused, since nobody can tell which. Errors that may pass, such as a deadlock, are raised as they are.
    """
    connection.execute(statement("batches/check_constraints_now"))  # not at the commit, where no row could be spared
    refused = Refused(limit)
    while True:
        with transaction(connection):
            before = _look_up(refused, connection, rows).keys if look_up else 0
            inserted = _insert_all_but(refused, connection, rows)
            if inserted == expected and not look_up:
                return Inserted(inserted)
            found = _look_up(refused, connection, rows)
            if found.missing:
                raise psycopg.Rollback
            if look_up and inserted != found.keys - before:
                raise BatchRefused(OTHER_KEY)
            return Inserted(inserted, found.rows - inserted, found.left_out, refused.reasons)
        refused.add(found.missing, NOT_STORED)


def _insert_all_but(refused: Refused, connection: psycopg.Connection, rows: Rows) -> int:
    """Insert the rows but for the refused ones, to which it adds; return how many were inserted."""
    inserted = 0
    parts: list[Sequence[UUID] | None] = [None]
    if rows.message_ids is not None:
        parts = _halves([each for each in rows.message_ids if each not in refused.reasons])
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


def _halves(message_ids: Sequence[UUID]) -> list[Sequence[UUID] | None]:
    """Both halves, the first one last, since the last part is taken first; of one message only that."""
    middle = len(message_ids) // 2
    return [half for half in (message_ids[middle:], message_ids[:middle]) if half]


def _message_ids(refused: Refused, connection: psycopg.Connection, rows: Rows) -> list[UUID]:
    """The messages of all rows of a batch but the refused ones."""
    values = _values(rows, rows.message_ids, refused)
    return [message_id for (message_id,) in connection.execute(statement("batches/message_ids"), values)]


def _look_up(refused: Refused, connection: psycopg.Connection, rows: Rows) -> Found:
    """What of the rows is in `user_logins` now."""
    values = _values(rows, rows.message_ids, refused)
    with connection.cursor(row_factory=class_row(Found)) as cursor:
        [found] = cursor.execute(statement("batches/find_rows"), values).fetchall()
    return found


def _values(rows: Rows, message_ids: Sequence[UUID] | None, refused: Refused) -> dict[str, object]:
    """The parameters of the statements: the rows of a batch with these messages, or all, but for the refused ones."""
    return {
        "batch_id": rows.batch_id,
        "staged_on": rows.staged_on,
        "message_ids": None if message_ids is None else list(message_ids),
        "refused": list(refused.reasons) if message_ids is None or message_ids is rows.message_ids else [],
    }

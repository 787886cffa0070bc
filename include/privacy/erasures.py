"""The queue of people to be forgotten, `privacy.erasures`: officers ask, `erase_users` does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from include.warehouse.statements import statement
from include.warehouse.transactions import transaction


@dataclass(frozen=True, slots=True)
class Erasure:
    """A person to be forgotten, who was asked for at `asked_at`, the last time. The user id is not shown in print."""

    erasure_id: int
    case_number: str
    user_id: str = field(repr=False)
    asked_at: datetime


def ask_erasure(connection: psycopg.Connection, *, case_number: str, user_id: str) -> str:
    """Put a person into the queue, and commit; return the verdict: queued, already queued, or what is wrong with it."""
    with transaction(connection):
        values = {"case_number": case_number, "user_id": user_id}
        [(verdict,)] = connection.execute(statement("privacy/ask_erasure"), values).fetchall()
    return str(verdict)


def waiting(connection: psycopg.Connection, erasure_ids: Sequence[int] | None = None) -> list[Erasure]:
    """Who waits in the queue, oldest first: all, or those of these numbers that still do."""
    with transaction(connection), connection.cursor(row_factory=class_row(Erasure)) as cursor:
        ids = {"erasure_ids": None if erasure_ids is None else list(erasure_ids)}
        return cursor.execute(statement("privacy/waiting_erasures"), ids).fetchall()


def record_erased(
    connection: psycopg.Connection,
    erasure: Erasure,
    counts: Mapping[str, int],
    *,
    until: datetime,
    message_ids: Sequence[UUID],
) -> int | None:
    """Forget who was asked for and the originals of these messages, write the trail, in the caller's transaction.

    Returns how many originals there were; None, and nothing is recorded, where somebody has asked again after `until`.
    """
    values = {
        "erasure_id": erasure.erasure_id,
        "counts": json.dumps(counts),
        "until": until,
        "message_ids": list(message_ids),
    }
    [(verdict, originals)] = connection.execute(statement("privacy/erase"), values).fetchall()
    if verdict == "asked again":
        return None
    if verdict != "erased":
        raise RuntimeError(f"erasure {erasure.erasure_id} is not recorded: {verdict}")
    return int(originals)

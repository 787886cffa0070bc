"""Rejected messages: replayed once today's parser takes them, their bodies forgotten after a while."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from uuid import UUID

import psycopg
from cryptography.exceptions import InvalidTag
from psycopg.rows import class_row
from tabulate import tabulate

from include.batches.staging import stage
from include.events.login import Login, RejectedMessage, parse
from include.events.message import Message, Origin
from include.privacy.masking import Keyring
from include.privacy.sealing import unseal
from include.warehouse.locks import take_turn
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)

PAGE_MESSAGES = 1_000
PAGE_BYTES = 16 * 2**20
DAYS_SHOWN = 7
BEGINNING, END = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rejected messages: those rejected from `start` to `stop`, which is exclusive, for any of `rules`.

    A rule is `field: rule` as in a reason; None selects all. `limit` bounds how many of them are loaded.
    """

    limit: int
    start: datetime = BEGINNING
    stop: datetime = END
    rules: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row of `login_etl.rejected_messages` that still has its body."""

    message_id: UUID
    sent_at: datetime
    receive_count: int
    reason: str
    kid: str
    sealed_body: bytes
    rejected_at: datetime


class Verdict(Enum):
    """What today's parser makes of a rejected message; the value is the name of its count."""

    VALID = "valid"
    UNREADABLE = "unreadable"  # the body cannot be opened: its key is gone, or it was damaged
    STILL_REJECTED = "still_rejected"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message that was rejected for `reason`; `now` says so in words."""

    reason: str
    verdict: Verdict
    now: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A rejected message as today's parser reads it, with its login where that is valid."""

    rejected: RejectedRow
    outcome: Outcome
    accepted: tuple[Message, Login] | None = None


def replay_messages(
    connection: psycopg.Connection, keyring: Keyring, selected: Selection, *, origin: Origin, dry_run: bool
) -> dict[str, int]:
    """Parse rejected messages again, and stage those that are valid now, under their own message ids.

    Staging a message and forgetting its sealed body are one transaction, so it joins the pipeline once,
    whatever crashes; should it have come in another way too, the merge recognises it. In a dry run all
    is left as it is. Returns the sums and logs them by reason.
    """
    outcomes: Counter[Outcome] = Counter()
    left, last = selected.limit, None
    while left > 0:
        with transaction(connection):
            if not dry_run:
                take_turn(connection, "login_etl.replay")  # also behind one that has just been killed
            page = next_page(connection, selected, last)
            if not page:
                break
            readings = read_page(page, keyring, limit=left)
            valid = [reading.accepted for reading in readings if reading.accepted]
            if valid and not dry_run:
                batch = stage(connection, valid, [], keyring=keyring, origin=origin)
                ids = [message.message_id for message, _ in valid]
                connection.execute(statement("batches/mark_replayed"), {"batch_id": batch.batch_id, "message_ids": ids})
        outcomes.update(reading.outcome for reading in readings)
        left, last = left - len(valid), readings[-1].rejected
    _log_outcomes(outcomes, dry_run=dry_run, stopped=left == 0)
    counts = dict.fromkeys((verdict.value for verdict in Verdict), 0)
    for outcome, messages in outcomes.items():
        counts[outcome.verdict.value] += messages
    staged = 0 if dry_run else counts["valid"]
    return {"opened": outcomes.total(), **counts, "received": staged, "staged": staged}


def read_page(page: Sequence[RejectedRow], keyring: Keyring, *, limit: int) -> list[Reading]:
    """Read the messages in order, up to the one that makes `limit` valid ones."""
    readings: list[Reading] = []
    for rejected in page:
        readings.append(read(rejected, keyring))
        limit -= readings[-1].outcome.verdict is Verdict.VALID
        if not limit:
            break
    return readings


def read(rejected: RejectedRow, keyring: Keyring) -> Reading:
    """Open the sealed body and attributes, and parse the message."""
    try:
        body, attributes = unseal(rejected.sealed_body, key=keyring.key(rejected.kid), message_id=rejected.message_id)
        message = Message(rejected.message_id, rejected.sent_at, rejected.receive_count, body, attributes=attributes)
        accepted = (message, parse(message))
    except (InvalidTag, KeyError):
        return Reading(rejected, Outcome(rejected.reason, Verdict.UNREADABLE, "cannot be opened"))
    except RejectedMessage as reject:
        return Reading(rejected, Outcome(rejected.reason, Verdict.STILL_REJECTED, reject.reason))
    return Reading(rejected, Outcome(rejected.reason, Verdict.VALID, "valid now"), accepted)


def forget_rejected_bodies(connection: psycopg.Connection, *, days: int) -> int:
    """Forget the bodies of messages that were rejected more than `days` ago; return how many."""
    with transaction(connection):
        take_turn(connection, "login_etl.replay")  # who seals them anew locks in another order
        return connection.execute(statement("batches/forget_rejected_bodies"), {"days": days}).rowcount


def bodies_to_forget(connection: psycopg.Connection, *, days: int) -> int:
    """How many bodies of messages that were rejected more than `days` ago have not been replayed."""
    with transaction(connection):
        [(bodies,)] = connection.execute(statement("batches/bodies_to_forget"), {"days": days}).fetchall()
    return int(bodies)


def sealed_by_day(connection: psycopg.Connection) -> dict[str, str]:
    """How many bodies that were rejected on each of the last days are kept, and how much room they take."""
    with transaction(connection):
        days = connection.execute(statement("batches/sealed_by_day"), {"days": DAYS_SHOWN}).fetchall()
    return {f"rejected on {day}": f"{bodies:,} kept, {int(size) / 2**20:,.1f} MiB" for day, bodies, size in days}


def _log_outcomes(outcomes: Counter[Outcome], *, dry_run: bool, stopped: bool) -> None:
    """Log how many messages of each reason came to what, as a table."""
    rows = sorted((outcome.reason, outcome.now, messages) for outcome, messages in outcomes.items())
    table = tabulate(rows, ["rejected for", "and now", "messages"]) if rows else "no rejected message is selected"
    log.info("%s:\n%s", "dry run" if dry_run else "replayed", table)
    if stopped:
        log.warning("stopped at the param limit: raise it, or run again, to load more")


def next_page(connection: psycopg.Connection, selected: Selection, last: RejectedRow | None) -> list[RejectedRow]:
    """The selected messages behind the last one, in order of rejection; bounded in messages and bytes."""
    with connection.cursor(row_factory=class_row(RejectedRow)) as cursor:
        return cursor.execute(
            statement("batches/rejected_page"),
            {
                "after": last.rejected_at if last else BEGINNING,
                "after_id": last.message_id if last else UUID(int=0),
                "start": selected.start,
                "stop": selected.stop,
                "rules": selected.rules,
                "messages": PAGE_MESSAGES,
                "bytes": PAGE_BYTES,
            },
        ).fetchall()

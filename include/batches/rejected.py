"""Rejected messages: replayed once today's parser takes them, forgotten after a while."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
from include.warehouse.locks import lock
from include.warehouse.statements import statement

log = logging.getLogger(__name__)

PAGE_MESSAGES = 1_000
PAGE_BYTES = 16 * 2**20
BEGINNING, END = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
VALID = "valid now"
UNREADABLE = "cannot be opened"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rejected messages: those rejected from `start` up to, and without, `stop`, for any of `rules`.

    A rule is `field: rule` as in a reason; None selects all. `limit` bounds how many of them are loaded.
    """

    limit: int
    start: datetime = BEGINNING
    stop: datetime = END
    rules: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row of `login_etl.rejected_messages` that still has its body."""

    message_id: UUID
    sent_at: datetime
    receive_count: int
    reason: str
    kid: str
    sealed_body: bytes
    rejected_at: datetime


def replay(
    connection: psycopg.Connection, keyring: Keyring, selected: Selection, *, origin: Origin, dry_run: bool
) -> dict[str, int]:
    """Parse rejected messages again, and stage those that are valid now, under their own message ids.

    Staging a message and giving up its sealed body are one transaction, so it joins the pipeline once,
    whatever crashes; should it have come in another way too, the merge recognises it. In a dry run all
    is left as it is. Returns the sums and logs them by reason.
    """
    outcomes: Counter[tuple[str, str]] = Counter()
    left, last = selected.limit, None
    while left > 0:
        with connection.transaction():
            if not dry_run:
                lock(connection, "login_etl.replay")  # replays take turns, also with one that has just been killed
            page = _page(connection, selected, last)
            if not page:
                break
            valid, last = _parse_again(page, keyring, outcomes, limit=left)
            if valid and not dry_run:
                batch = stage(connection, valid, [], keyring=keyring, origin=origin)
                ids = [message.message_id for message, _ in valid]
                connection.execute(statement("batches/mark_replayed"), {"batch_id": batch.batch_id, "message_ids": ids})
        left -= len(valid)
    _tell(outcomes, dry_run=dry_run, stopped=left == 0)
    counts = Counter(valid=0, unreadable=0, still_rejected=0)
    for (_, outcome), count in outcomes.items():
        counts[{VALID: "valid", UNREADABLE: "unreadable"}.get(outcome, "still_rejected")] += count
    staged = 0 if dry_run else counts["valid"]
    return {"opened": outcomes.total(), **counts, "received": staged, "staged": staged}


def expire_bodies(connection: psycopg.Connection, *, days: int) -> int:
    """Forget the bodies of messages that were rejected more than `days` ago; return how many."""
    return connection.execute(statement("batches/expire_bodies"), {"days": days}).rowcount


def _tell(outcomes: Counter[tuple[str, str]], *, dry_run: bool, stopped: bool) -> None:
    rows = [(reason, outcome, count) for (reason, outcome), count in sorted(outcomes.items())]
    table = tabulate(rows, ["rejected for", "and now", "messages"]) if rows else "no rejected message is selected"
    log.info("%s:\n%s", "a dry run" if dry_run else "replayed", table)
    if stopped:
        log.warning("stopped at the limit: there may be more")


def _page(connection: psycopg.Connection, selected: Selection, last: Rejected | None) -> list[Rejected]:
    with connection.cursor(row_factory=class_row(Rejected)) as cursor:
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


def _parse_again(
    page: Sequence[Rejected], keyring: Keyring, outcomes: Counter[tuple[str, str]], *, limit: int
) -> tuple[list[tuple[Message, Login]], Rejected]:
    """At most `limit` messages that are valid now, and the last one opened.

    Every message's outcome is counted under the reason of its rejection.
    """
    valid: list[tuple[Message, Login]] = []
    for rejected in page:
        outcome = VALID
        try:
            body = unseal(rejected.sealed_body, key=keyring.key(rejected.kid), message_id=rejected.message_id)
            message = Message(rejected.message_id, rejected.sent_at, rejected.receive_count, body)
            valid.append((message, parse(body)))
        except (InvalidTag, KeyError):
            outcome = UNREADABLE
        except RejectedMessage as reject:
            outcome = reject.reason
        outcomes[rejected.reason, outcome] += 1
        if len(valid) == limit:
            break
    return valid, rejected

"""Where is my message? All that is known of one, by its SQS message id, and only by that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from include.page.links import log_of_batch
from include.page.reading import ask

NOT_HERE = (
    "No batch has it. It is still on the queue, or in its dead-letter queue; or another consumer took it; or it was "
    "never sent to this queue under this id"
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that became of a message: when, where that is known, and where Airflow has the log of it."""

    name: str
    says: str
    at: datetime | None = None
    batch_id: int | None = None
    log: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What became of a message, in order; and where it is now, in one sentence."""

    message_id: UUID
    sentence: str
    steps: list[Step]


@dataclass(slots=True)
class Traces:
    """The rows that a message has left: in user_logins, in staging by batch, where it was rejected or refused."""

    login: Row | None
    rejected: Row | None
    refused: list[Row]
    staged: list[Row] = field(default_factory=list)
    batches: dict[int, Row] = field(default_factory=dict)


def find_message(connection: psycopg.Connection, message_id: UUID) -> Found:
    """Look it up by keys, in the transaction that is open; what waits for its merge is looked through."""
    traces = _traces(connection, message_id)
    steps = [*_of_rejected(traces), *_of_copies(traces), *_of_refused(traces)]
    # What has no time comes last: it is how things are now.
    steps.sort(key=lambda step: (step.at is None, step.at.timestamp() if step.at else 0))
    return Found(message_id, _sentence(traces), [*_sent(traces), *steps])


def _traces(connection: psycopg.Connection, message_id: UUID) -> Traces:
    traces = Traces(
        login=next(iter(ask(connection, "message_login", message_id=message_id)), None),
        rejected=next(iter(ask(connection, "message_rejected", message_id=message_id)), None),
        refused=ask(connection, "message_refused", message_id=message_id),
    )
    known = {row["batch_id"] for row in traces.refused}
    known |= {traces.login["batch_id"]} if traces.login else set()
    known |= {traces.rejected["replayed_in"]} if traces.rejected else set()
    known -= {None}
    traces.staged = ask(connection, "message_staged", message_id=message_id, batches=sorted(known))
    known |= {row["batch_id"] for row in traces.staged}
    known |= {traces.rejected["batch_id"]} if traces.rejected else set()
    found = ask(connection, "batches_by_id", batches=sorted(known))
    traces.batches = {row["batch_id"]: row for row in found}
    return traces


def _sent(traces: Traces) -> Iterator[Step]:
    for row in (*traces.staged, *([traces.rejected] if traces.rejected else [])):
        yield Step("sent", "Sent to SQS", row["sent_at"])
        return


def _of_rejected(traces: Traces) -> Iterator[Step]:
    if not (row := traces.rejected):
        return
    times = "" if row["receive_count"] == 1 else f"; received {row['receive_count']} times by then"
    log = log_of_batch(traces.batches.get(row["batch_id"]))
    yield Step("rejected", f"Rejected: {row['reason']}{times}", row["rejected_at"], row["batch_id"], log)
    if replay := traces.batches.get(row["replayed_in"]):
        log = log_of_batch(replay)
        yield Step("replayed", "Replayed: parsed again, and valid", replay["staged_at"], replay["batch_id"], log)
    if row["erased_at"]:
        yield Step("erased", "Its body was erased, because it named a person who was forgotten", row["erased_at"])


def _of_copies(traces: Traces) -> Iterator[Step]:
    """Each time that it was staged, and what the merge did with it; of the one in user_logins longer than staging."""
    stored_in = traces.login["batch_id"] if traces.login else None
    replayed_in = traces.rejected["replayed_in"] if traces.rejected else None
    waiting = {row["batch_id"] for row in traces.refused}
    for batch_id in sorted(filter(None, {stored_in, *(row["batch_id"] for row in traces.staged)})):
        if not (batch := traces.batches.get(batch_id)):
            continue
        if batch_id != replayed_in:
            log = log_of_batch(batch)
            yield Step("received", "Received, masked and staged", batch["staged_at"], batch_id, log)
        if batch_id == stored_in:
            yield Step("merged", "Merged into user_logins", batch["merged_at"], batch_id)
        elif batch["merged_at"] and batch_id not in waiting:
            yield Step("already_there", "Already there: it had come before", batch["merged_at"], batch_id)
        elif batch["refusal"]:
            yield Step("refused", f"Refused with its batch: {batch['refusal']}", batch_id=batch_id)
    if traces.login and traces.login["is_erased"]:
        yield Step("erased", "Erased: user id and masks are gone; the row stays as a count")


def _of_refused(traces: Traces) -> Iterator[Step]:
    for row in traces.refused:
        says = f"Refused by user_logins, when it was tried last: {row['reason']}"
        yield Step("refused", says, row["refused_at"], row["batch_id"])


def _sentence(traces: Traces) -> str:
    if traces.login:
        what = "It was erased: a row without user and masks" if traces.login["is_erased"] else "It is in user_logins"
        return f"{what}, under create_date {traces.login['create_date']}"
    staged_in = [traces.batches[row["batch_id"]] for row in traces.staged if row["batch_id"] in traces.batches]
    if traces.refused or any(batch["refusal"] for batch in staged_in):
        return "It waits in staging, because user_logins refuses it: each run tries it again"
    if any(batch["merged_at"] for batch in staged_in):
        return "Its row is not in user_logins any more: somebody deleted it, and a rebuild brings it back"
    if traces.staged:
        return "It waits in staging for the merge"
    return _sentence_of_rejected(traces.rejected) if traces.rejected else NOT_HERE


def _sentence_of_rejected(row: Row) -> str:
    if row["erased_at"]:
        return "It was rejected, and its body erased"
    if row["can_be_replayed"]:
        return "It was rejected, and its body is kept, sealed: replay_rejected loads it once it is valid"
    return "It was rejected, and its body is not kept" + (" any more" if row["body_bytes"] is None else ": too large")

"""The drain: receive, parse, mask, land, commit, and only then delete."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import TransactionStatus

from include.batches.staging import Batch, stage
from include.events.login import Login, RejectedMessage, parse
from include.events.message import Message, Origin
from include.privacy.masking import Keyring
from include.sqs.calls import VISIBILITY_SECONDS, Deletes, Received, delete
from include.sqs.receiver import receive
from include.warehouse.statements import statement

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = logging.getLogger(__name__)

COUNTS = ("received", "staged", "rejected", "deleted", "delete_failed", "expired")


@dataclass(frozen=True, slots=True)
class Landed:
    """A committed batch, and the deletes of its messages, which are on their way."""

    batch: Batch
    deletes: Iterator[Deletes]


def drain_queue(
    sqs: SQSClient,
    queue_url: str,
    connection: psycopg.Connection,
    keyring: Keyring,
    *,
    origin: Origin,
    messages: int,
    seconds: float,
    threads: int,
) -> dict[str, int]:
    """Move at most `messages` from the queue to staging, receiving for at most `seconds`.

    While the calling thread lands a chunk, which becomes a batch, `threads` threads delete the one
    before it and receive the next. They share the client; the connection must be in autocommit mode
    and is used by the calling thread only. Returns the sums of COUNTS. A crash anywhere repeats what is
    on its way, and the merge recognises the repetition; none is lost. Raises RuntimeError where nothing
    of a chunk can be deleted: going on would land the same messages again and again.
    """
    totals = Counter(dict.fromkeys(COUNTS, 0))
    deadline = monotonic() + seconds
    fifo = queue_url.endswith(".fifo")  # nothing more of a message group is shown until its messages are deleted
    landed: deque[Landed] = deque()
    with (
        ThreadPoolExecutor(threads, thread_name_prefix="sqs") as pool,
        closing(receive(sqs, queue_url, limit=messages, deadline=deadline, threads=threads, pool=pool)) as chunks,
    ):
        try:
            for chunk in map(in_time, chunks):
                if not chunk:
                    continue
                batch = land(connection, chunk, keyring=keyring, origin=origin)
                landed.append(Landed(batch, delete(sqs, queue_url, chunk, threads=threads, pool=pool)))
                while len(landed) > (0 if fifo else 1):
                    totals.update(finish(connection, landed.popleft()))
            while landed:
                totals.update(finish(connection, landed.popleft()))
        except BaseException:
            chunks.close()
            if connection.info.transaction_status == TransactionStatus.IDLE:  # else it was interrupted, or is closed
                for each in landed:
                    with not_instead_of_the_error(each.batch):
                        finish(connection, each)
            raise
    return dict(totals)


def in_time(chunk: Sequence[Received]) -> Sequence[Received]:
    """The messages that SQS hides long enough to be landed and deleted; others come again by themselves."""
    latest = monotonic() + VISIBILITY_SECONDS / 2
    fresh = [message for message in chunk if message.expires_at > latest]
    if len(fresh) < len(chunk):
        log.warning("%d messages waited too long for the warehouse; they come again", len(chunk) - len(fresh))
    return fresh


def land(connection: psycopg.Connection, chunk: Sequence[Message], *, keyring: Keyring, origin: Origin) -> Batch:
    """Stage a chunk as one batch, which is committed then."""
    logins, rejects = sort_out(chunk)
    batch = stage(connection, logins, rejects, keyring=keyring, origin=origin)
    if connection.info.transaction_status != TransactionStatus.IDLE:
        raise RuntimeError("the batch is not committed: its messages must not be deleted")
    return batch


def sort_out(
    chunk: Sequence[Message],
) -> tuple[list[tuple[Message, Login]], list[tuple[Message, RejectedMessage]]]:
    """The logins among the messages, and the others with the reason for each."""
    logins: list[tuple[Message, Login]] = []
    rejects: list[tuple[Message, RejectedMessage]] = []
    for message in chunk:
        try:
            logins.append((message, parse(message.body)))
        except RejectedMessage as reject:
            rejects.append((message, reject.with_traceback(None)))
    return logins, rejects


@contextmanager
def not_instead_of_the_error(batch: Batch) -> Iterator[None]:
    """Only log what finishing the batch of a drain that has failed raises."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the first error says more
        log.warning("batch %d is landed; its deletes: %s", batch.batch_id, type(error).__name__)


def finish(connection: psycopg.Connection, landed: Landed) -> dict[str, int]:
    """Wait for a batch's deletes, record and log them, and return the batch's COUNTS."""
    batch, deletes = landed.batch, sum(landed.deletes, start=Deletes())
    connection.execute(
        statement("batches/record_deletes"),
        {
            "batch_id": batch.batch_id,
            "deleted": deletes.deleted,
            "failed": deletes.failed,
            "expired": deletes.expired,
        },
    )
    counts = {
        "received": batch.received,
        "staged": batch.staged,
        "rejected": batch.rejected,
        "deleted": deletes.deleted,
        "delete_failed": deletes.failed,
        "expired": deletes.expired,
    }
    log.info("batch %d: %s", batch.batch_id, ", ".join(f"{name} {count}" for name, count in counts.items()))
    if not deletes.deleted:
        raise RuntimeError(
            f"batch {batch.batch_id} is landed, but none of its {batch.received} messages is deleted "
            f"({deletes.failed} failed, {deletes.expired} too late): they come again, and are recognised"
        )
    if deletes.deleted < batch.received:
        log.warning("landed messages that are still on the queue will come again, and be recognised")
    return counts

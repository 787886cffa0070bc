"""The drain: receive, parse, mask, stage, commit, and only then delete."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import chain
from time import monotonic

import psycopg
from psycopg.pq import TransactionStatus

from include.batches import counts
from include.batches.interpreter import all_else_frozen, on_one_core
from include.batches.staging import Batch, stage
from include.events.login import Login, RejectedMessage, parse
from include.events.message import Message, Origin
from include.privacy.masking import Keyring
from include.sqs.calls import CALL_SIZE, VISIBILITY_SECONDS, Deletes, Queue, Received, delete
from include.sqs.chunk import CHUNK, ChunkBounds
from include.sqs.consumer import Consumer
from include.sqs.receiver import receive
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A chunk's messages: those that are logins, and the others with the reason for each."""

    logins: list[tuple[Message, Login]]
    rejects: list[tuple[Message, RejectedMessage]]


@dataclass(frozen=True, slots=True)
class Staged:
    """A committed batch, and the deletes of its messages, which are on their way."""

    batch: Batch
    deletes: Iterator[Deletes]


def drain_and_mask(
    queue: Queue,
    connection: psycopg.Connection,
    keyring: Keyring,
    *,
    origin: Origin,
    messages: int,
    seconds: float,
    threads: int,
    bounds: ChunkBounds = CHUNK,
) -> dict[str, int]:
    """Move at most `messages` from the queue to staging, receiving for at most `seconds`.

    The first few, what one call brings, are staged and deleted before any others are received: where the warehouse
    takes nothing, or the queue deletes nothing, no more than those come nearer to the dead letters. Then,
    while the calling thread stages a chunk, which becomes a batch, `threads` threads delete the one
    before it, and as many receive the next. They share the client; the connection must be in autocommit
    mode and is used by the calling thread only. Returns the sums of `counts.DRAINED`. A crash anywhere
    repeats what is on its way, and the merge recognises the repetition; none is lost. Raises
    RuntimeError where nothing of a chunk can be deleted: going on would stage the same messages again
    and again.
    """
    totals = Counter(dict.fromkeys(counts.DRAINED, 0))
    deadline = monotonic() + seconds
    staged: deque[Staged] = deque()

    def land(chunk: Sequence[Received]) -> Staged:
        core.choose()
        batch = stage_chunk(connection, chunk, keyring=keyring, origin=origin)
        return Staged(batch, delete(queue, [message.receipt for message in chunk], threads=threads, pool=deleters))

    with (
        all_else_frozen(),
        on_one_core() as core,
        closing(Consumer(queue)) as consumer,
        ThreadPoolExecutor(threads, "receive", core.join) as receivers,
        # Of their own: who receives may have to wait until there is room, which deletes must not.
        ThreadPoolExecutor(threads, "delete", core.join) as deleters,
    ):
        first = consumer.receive(min(CALL_SIZE, messages)) if monotonic() < deadline else []
        more = messages - len(first) if first else 0
        rest = receive(consumer, limit=more, deadline=deadline, threads=threads, pool=receivers, bounds=bounds)
        chunks = chain([first], rest)
        del first
        with closing(rest):
            try:
                # No name holds a chunk here, so that its bodies are gone once it is staged.
                for landed in map(land, filter(None, map(in_time, chunks))):
                    staged.append(landed)
                    # A FIFO queue shows nothing more of a message group until what it has shown is deleted.
                    while len(staged) > (0 if queue.is_fifo or not totals["received"] else 1):
                        totals.update(finish(connection, staged.popleft()))
                while staged:
                    totals.update(finish(connection, staged.popleft()))
            except BaseException:
                rest.close()
                finish_after_a_failure(connection, staged)
                raise
    return dict(totals)


def in_time(chunk: Sequence[Received]) -> Sequence[Received]:
    """The messages that SQS hides long enough to be staged and deleted; others come again by themselves."""
    latest = monotonic() + VISIBILITY_SECONDS / 2
    fresh = [message for message in chunk if message.receipt.expires_at > latest]
    if len(fresh) < len(chunk):
        log.warning(
            "%d messages waited too long for the warehouse and were not staged: SQS delivers them again",
            len(chunk) - len(fresh),
        )
    return fresh


def stage_chunk(connection: psycopg.Connection, chunk: Sequence[Message], *, keyring: Keyring, origin: Origin) -> Batch:
    """Stage a chunk as one batch, which is committed then."""
    parsed = parse_all(chunk)
    batch = stage(connection, parsed.logins, parsed.rejects, keyring=keyring, origin=origin)
    if connection.info.transaction_status != TransactionStatus.IDLE:
        raise RuntimeError("the batch is not committed: its messages must not be deleted")
    return batch


def parse_all(chunk: Sequence[Message]) -> Parsed:
    """Each message's login, or why it is none."""
    parsed = Parsed([], [])
    for message in chunk:
        try:
            parsed.logins.append((message, parse(message)))
        except RejectedMessage as reject:
            parsed.rejects.append((message, reject.with_traceback(None)))
    return parsed


def finish(connection: psycopg.Connection, staged: Staged) -> dict[str, int]:
    """Wait for a batch's deletes, record and log them, and return the batch's `counts.DRAINED`."""
    batch, deletes = staged.batch, sum(staged.deletes, start=Deletes())
    record_deletes(connection, batch, deletes)
    done = {name: getattr(batch, name) for name in counts.STAGED} | asdict(deletes)
    log.info("batch %d: %s", batch.batch_id, ", ".join(f"{name} {count}" for name, count in done.items()))
    stop_where_nothing_is_deleted(batch, deletes)
    if deletes.deleted < batch.received:
        log.warning(
            "%d messages of the batch are still on the queue: SQS delivers them again, and none is stored twice",
            batch.received - deletes.deleted,
        )
    return done


def finish_after_a_failure(connection: psycopg.Connection, staged: Iterable[Staged]) -> None:
    """Finish what is staged, and only log what that raises: the drain's own error says more."""
    if connection.info.transaction_status != TransactionStatus.IDLE:
        return  # it was interrupted in the middle of a statement, or is closed
    for each in staged:
        try:
            finish(connection, each)
        except Exception as error:  # noqa: BLE001
            number = each.batch.batch_id
            log.warning("batch %d is staged; deleting its messages failed: %s", number, type(error).__name__)


def record_deletes(connection: psycopg.Connection, batch: Batch, deletes: Deletes) -> None:
    """Write what became of the batch's deletes."""
    with transaction(connection):
        connection.execute(statement("batches/record_deletes"), {"batch_id": batch.batch_id, **asdict(deletes)})


def stop_where_nothing_is_deleted(batch: Batch, deletes: Deletes) -> None:
    """Raise RuntimeError: the queue would give the same messages again and again."""
    if not deletes.deleted:
        raise RuntimeError(
            f"batch {batch.batch_id} is staged, but none of its {batch.received} messages was deleted from the queue "
            f"({deletes.delete_failed} failed, {deletes.expired} too late): SQS delivers them again, and none is "
            "stored twice"
        )

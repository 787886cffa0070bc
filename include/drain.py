"""The drain: receive, parse, mask, land, commit, and only then delete."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import TransactionStatus

from include.login import Login, RejectedMessage, parse
from include.masking import Keyring
from include.sqs import Message, delete, receive
from include.staging import Drain, stage
from include.statements import statement

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = logging.getLogger(__name__)

COUNTS = ("received", "staged", "rejected", "deleted", "delete_failed", "expired")


def drain_queue(
    sqs: SQSClient,
    queue_url: str,
    connection: psycopg.Connection,
    keyring: Keyring,
    *,
    drain: Drain,
    messages: int,
    seconds: float,
    threads: int,
) -> dict[str, int]:
    """Move at most `messages` from the queue to staging, receiving for at most `seconds`.

    The client is shared by `threads` threads; the connection must be in autocommit mode and is used
    by the calling thread only. Returns the sums of COUNTS. A crash anywhere repeats a chunk, and
    the merge recognises the repetition; none is lost. Raises RuntimeError where nothing of a
    chunk can be deleted: going on would land the same messages again and again.
    """
    totals = Counter(dict.fromkeys(COUNTS, 0))
    deadline = monotonic() + seconds
    with ThreadPoolExecutor(threads, thread_name_prefix="sqs") as pool:
        for chunk in receive(sqs, queue_url, limit=messages, deadline=deadline, threads=threads, pool=pool):
            logins, rejects = sort_out(chunk)
            batch = stage(connection, logins, rejects, keyring=keyring, drain=drain)
            if connection.info.transaction_status != TransactionStatus.IDLE:
                raise RuntimeError("the batch is not committed: its messages must not be deleted")
            deletes = delete(sqs, queue_url, chunk, pool=pool)
            connection.execute(
                statement("record_deletes"),
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
            totals.update(counts)
            log.info("batch %d: %s", batch.batch_id, ", ".join(f"{name} {count}" for name, count in counts.items()))
            if not deletes.deleted:
                raise RuntimeError(
                    f"batch {batch.batch_id} is landed, but none of its {batch.received} messages is deleted "
                    f"({deletes.failed} failed, {deletes.expired} too late): they come again, and are recognised"
                )
            if deletes.deleted < batch.received:
                log.warning("landed messages that are still on the queue will come again, and be recognised")
    return dict(totals)


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

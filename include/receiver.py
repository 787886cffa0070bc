"""Receiving ahead: messages are on their way while the caller lands those before them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from sys import getsizeof
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from include.sqs import CALL_SIZE, Received, receive_once

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True, slots=True)
class ChunkBounds:
    """When a chunk is handed over: at so many messages, so many bytes of bodies, or so many seconds of age."""

    messages: int = 1_000
    bytes: int = 8 * 2**20
    seconds: float = 10


CHUNK = ChunkBounds()
CHUNKS_AHEAD = 2  # so that no thread has to wait while the caller lands one


def receive(
    sqs: SQSClient,
    queue_url: str,
    *,
    limit: int,
    deadline: float,
    threads: int,
    pool: Executor,
    bounds: ChunkBounds = CHUNK,
) -> Generator[list[Received], None, None]:
    """Yield chunks of messages until `limit` of them, `deadline` (monotonic seconds) or an empty queue.

    At most `threads` calls run at a time in the pool, and go on while the caller lands a chunk: each
    starts its successor when it ends, so what the caller submits to the same pool has its turn between
    them. They wait when two chunks are waiting for the caller, so memory is bounded. A chunk is
    handed over while it is young, however slowly it fills, so that there is time to land and delete it
    before SQS shows it to others. A call that fails, after botocore's retries, ends it with its error,
    once what the other calls brought has been handed over. Close the generator to end it early.

    A FIFO queue shows the rest of a message group only once what it has shown is deleted. So there an
    empty answer ends only a pass: the caller must have deleted all its chunks when it asks for the next.
    """
    while True:
        receiver = Receiver(
            partial(receive_once, sqs, queue_url),
            limit=limit,
            deadline=deadline,
            threads=threads,
            pool=pool,
            bounds=bounds,
        )
        try:
            yield from receiver.chunks()
        finally:
            receiver.close()
        limit -= receiver.received
        if not (queue_url.endswith(".fifo") and receiver.received):
            return


class Receiver:
    """Receive calls in a pool, and the messages that they have brought.

    `call` is given how many messages it may receive; an empty answer means that there are none left.
    """

    def __init__(
        self,
        call: Callable[[int], list[Received]],
        *,
        limit: int,
        deadline: float,
        threads: int,
        pool: Executor,
        bounds: ChunkBounds,
    ) -> None:
        self.received = 0
        self._call, self._deadline, self._threads, self._pool, self._bounds = call, deadline, threads, pool, bounds
        self._answers: SimpleQueue[list[Received] | Exception] = SimpleQueue()
        self._lock = Lock()  # guards what follows
        self._open = True
        self._unclaimed = limit  # messages that no call has been started for
        self._running = 0  # calls
        self._messages = self._bytes = 0  # received, and not handed over
        self._largest = 1  # bytes that one call has brought

    def chunks(self) -> Iterator[list[Received]]:
        """Yield what the calls bring until the last one has ended; then raise the first error among them."""
        chunk: list[Received] = []
        size, started = 0, 0.0
        failure: Exception | None = None
        while self._more():
            age = monotonic() - started if chunk else 0
            with suppress(Empty):
                answer = self._answers.get(timeout=max(0, self._bounds.seconds - age) if chunk else None)
                if isinstance(answer, Exception):
                    failure = failure or answer
                else:
                    started = started if chunk else monotonic()
                    chunk += answer
                    size += _bytes(answer)
            full = len(chunk) >= self._bounds.messages or size >= self._bounds.bytes
            if chunk and (full or monotonic() - started >= self._bounds.seconds):
                yield self._hand_over(chunk, size)
                chunk, size = [], 0
        if chunk:
            yield self._hand_over(chunk, size)
        if failure:
            raise failure

    def close(self) -> None:
        """Start no more calls; those that run end by themselves."""
        with self._lock:
            self._open = False

    def _more(self) -> bool:
        with self._lock:
            self._start_calls()
            return self._running > 0 or not self._answers.empty()

    def _hand_over(self, chunk: list[Received], size: int) -> list[Received]:
        with self._lock:
            self.received += len(chunk)
            self._messages -= len(chunk)
            self._bytes -= size
            self._start_calls()
        return chunk

    def _start_calls(self) -> None:
        while (
            self._open
            and self._unclaimed > 0
            and self._running < self._threads
            and self._fits()
            and monotonic() < self._deadline
        ):
            size = min(CALL_SIZE, self._unclaimed)
            self._unclaimed -= size
            self._running += 1
            self._pool.submit(self._run, size)

    def _fits(self) -> bool:
        """Whether one more call's messages should fit, going by the largest answer so far."""
        calls = self._running + 1
        return not (self._running or self._messages) or (
            self._messages + calls * CALL_SIZE <= CHUNKS_AHEAD * self._bounds.messages
            and self._bytes + calls * self._largest <= CHUNKS_AHEAD * self._bounds.bytes
        )

    def _run(self, size: int) -> None:
        answer: list[Received] | Exception
        try:
            answer = self._call(size)
        except Exception as error:  # noqa: BLE001 - chunks() raises it, after what the other calls have brought
            answer = error
        with self._lock:
            self._running -= 1
            self._answers.put(answer)
            if isinstance(answer, list) and answer:
                brought = _bytes(answer)
                self._unclaimed += size - len(answer)
                self._messages += len(answer)
                self._bytes += brought
                self._largest = max(self._largest, brought)
            else:
                self._open = False
            self._start_calls()


def _bytes(messages: list[Received]) -> int:
    return sum(getsizeof(message.body) for message in messages)

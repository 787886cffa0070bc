"""Receiving ahead: messages are on their way while the caller lands those before them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from sys import getsizeof
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from include.sqs.calls import CALL_SIZE, Received, receive_once

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
    handed over while it is young, however slowly it fills. An empty answer means an empty queue unless
    other calls bring something meanwhile. A call that fails, after botocore's retries, ends it with its
    error, once what the other calls brought has been handed over. Close the generator to end it early.

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

    `call` is given how many messages it may receive, and waits a while for one where there are none.
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
        self.received = 0  # and handed over
        self._call, self._deadline, self._threads, self._pool, self._bounds = call, deadline, threads, pool, bounds
        self._ready: SimpleQueue[tuple[list[Received], int] | None] = SimpleQueue()  # chunks and their bytes; the end
        self._lock = Lock()  # guards what follows
        self._open = True
        self._failure: BaseException | None = None
        self._unclaimed = limit  # messages that no call has been started for
        self._running = 0  # calls
        self._chunk: list[Received] = []  # what is not ready yet, its bytes, and when the first of it came
        self._chunk_bytes = 0
        self._began = 0.0
        self._messages = self._bytes = 0  # received, and not handed over
        self._largest = 0  # bytes that one call has brought lately; 0 until one has
        self._brought_at = 0.0  # when a call last brought something

    def chunks(self) -> Iterator[list[Received]]:
        """Yield what the calls bring until the last one has ended; then raise the first error among them."""
        while True:
            with self._lock:
                self._go_on()
                age = monotonic() - self._began if self._chunk else 0
            try:
                ready = self._ready.get(timeout=max(0, self._bounds.seconds - age))
            except Empty:
                with self._lock:
                    if monotonic() - self._began >= self._bounds.seconds:
                        self._cut()
                continue
            if ready is None:
                break
            chunk, size = ready
            with self._lock:
                self.received += len(chunk)
                self._messages -= len(chunk)
                self._bytes -= size
                self._go_on()
            yield chunk
        if self._failure:
            raise self._failure

    def close(self) -> None:
        """Start no more calls; those that run end by themselves."""
        with self._lock:
            self._open = False

    def _go_on(self) -> None:
        """Start as many calls as are allowed and fit; where the last one has ended, say so."""
        more = self._open and self._unclaimed > 0 and monotonic() < self._deadline
        while more and self._running < self._threads and self._fits():
            size = min(CALL_SIZE, self._unclaimed)
            self._unclaimed -= size
            self._running += 1
            self._pool.submit(self._run, size)
            more = self._unclaimed > 0
        if not self._running:
            self._cut()
            if not more:
                self._ready.put(None)

    def _fits(self) -> bool:
        """Whether one more call's messages should fit, going by the largest answer of late; one call at first."""
        calls = self._running + 1
        return not (self._running or self._messages) or (
            self._largest > 0
            and self._messages + calls * CALL_SIZE <= CHUNKS_AHEAD * self._bounds.messages
            and self._bytes + calls * self._largest <= CHUNKS_AHEAD * self._bounds.bytes
        )

    def _run(self, size: int) -> None:
        messages: list[Received] = []
        brought, failure = 0, None
        started = monotonic()
        try:
            messages = self._call(size)
            brought = sum(getsizeof(message.body) for message in messages)
        except BaseException as error:  # noqa: BLE001 - chunks() raises it, after what the other calls have brought
            failure = error
        ended = monotonic()
        with self._lock:
            self._running -= 1
            self._unclaimed += size - len(messages)
            if messages:
                self._add(messages, brought, at=ended)
            elif self._brought_at <= (started + ended) / 2:  # no other call found more while this one waited
                self._open = False
            if failure:
                self._failure = self._failure or failure
                self._open = False
            self._go_on()

    def _add(self, messages: list[Received], size: int, *, at: float) -> None:
        """Take in what a call has brought."""
        if not self._chunk:
            self._began = at
        self._chunk += messages
        self._chunk_bytes += size
        self._messages += len(messages)
        self._bytes += size
        self._largest = max(size, self._largest * 7 // 8)
        self._brought_at = at
        if len(self._chunk) >= self._bounds.messages or self._chunk_bytes >= self._bounds.bytes:
            self._cut()

    def _cut(self) -> None:
        """What has been received so far is a chunk."""
        if self._chunk:
            self._ready.put((self._chunk, self._chunk_bytes))
            self._chunk, self._chunk_bytes = [], 0

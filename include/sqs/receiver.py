"""Receiving ahead: messages are on their way while the caller stages those before them.

                 ┌─ at most `threads` calls in a pool ─┐
    unclaimed ──►│ running ──► growing chunk ──► ready │──► the caller
                 └─────────────────────────────────────┘

A call claims messages before it starts, and gives back those that it did not bring. What it brings goes into the
growing chunk. That becomes ready when it is full, when it is old, or when nothing more comes. Whoever changes
something starts the calls for which there is room then: a call that ends, and the caller when it takes a chunk.
How large an answer is, is known when its head is there; it is read when there is room for it.

While nobody holds the lock,

- `unclaimed`, what running calls have claimed, and what was received add up to `limit`;
- what was received and is not taken by the caller, with what running calls may bring, fits into CHUNKS_AHEAD chunks,
  going by the largest answer of late; but one call always runs when there is nothing else;
- so does that with the answers that are being read; but one is always read when there is nothing else;
- once no call runs and none will be started, the next one to look puts the end behind the last chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, Executor
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from sys import getsizeof
from threading import Condition, Lock
from time import monotonic

from include.sqs.calls import CALL_SIZE, Received
from include.sqs.chunk import CHUNK, Chunk, ChunkBounds
from include.sqs.consumer import Consumer
from include.sqs.reading import waiting_for_room

CHUNKS_AHEAD = 2  # so that no thread has to wait while the caller stages one


@dataclass(slots=True)
class State:
    """What the calls and the caller share, and touch with the lock only; after the end `failure` is final."""

    # Messages that may still be received, and that no call has been started for.
    unclaimed: int
    # Calls that have been started and have not ended.
    running: int = 0
    # Whether calls may be started; once it is False it stays so.
    open: bool = True
    # Whether nobody takes chunks any more.
    abandoned: bool = False
    # The first error of a call.
    failure: BaseException | None = None
    # What was received and is not ready yet.
    growing: Chunk = field(default_factory=Chunk)
    # What was received and is not taken by the caller, growing or ready.
    waiting_messages: int = 0
    waiting_bytes: int = 0
    # The bytes of answers that calls are reading.
    reading_bytes: int = 0
    # The bytes of the largest answer, which each smaller one lowers by an eighth; 0 until a call has brought something.
    largest_answer: int = 0
    # When a call last brought something (monotonic seconds).
    brought_at: float = 0.0

    def is_queue_empty(self, asked: float, answered: float) -> bool:
        """Whether a call that waited between these moments and found nothing shows that there is nothing.

        Not when another call brought something in the second half of its wait: messages are still coming in then, and
        SQS may have given that one all there was at the moment.
        """
        return self.brought_at <= (asked + answered) / 2

    def has_room(self, bounds: ChunkBounds) -> bool:
        """Whether what one more call brings should fit; one call's does as long as nobody knows how much that is."""
        if not self.running and not self.waiting_messages:
            return True
        calls = self.running + 1
        return (
            self.largest_answer > 0
            and self.waiting_messages + calls * CALL_SIZE <= CHUNKS_AHEAD * bounds.messages
            and self.waiting_bytes + calls * self.largest_answer <= CHUNKS_AHEAD * bounds.bytes
        )

    def may_read(self, size: int, bounds: ChunkBounds) -> bool:
        """Whether an answer of so many bytes fits, or nothing else takes room."""
        taken = self.waiting_bytes + self.reading_bytes
        return not taken or taken + size <= CHUNKS_AHEAD * bounds.bytes

    def take_in(self, messages: list[Received], size: int, *, at: float) -> None:
        """Add what a call brought, whose bodies have `size` bytes."""
        if not self.growing.messages:
            self.growing.began = at
        self.growing.messages += messages
        self.growing.bytes += size
        self.waiting_messages += len(messages)
        self.waiting_bytes += size
        self.largest_answer = max(size, self.largest_answer * 7 // 8)
        self.brought_at = at


def receive(
    consumer: Consumer, *, limit: int, deadline: float, threads: int, pool: Executor, bounds: ChunkBounds = CHUNK
) -> Generator[list[Received], None, None]:
    """Yield chunks of messages until `limit` of them, `deadline` (monotonic seconds) or an empty queue.

    At most `threads` calls run at a time in the pool, and go on while the caller stages a chunk: each
    starts its successor when it ends, so what the caller submits to the same pool has its turn between
    them. They wait when two chunks are waiting for the caller, so memory is bounded. A chunk is
    handed over while it is young, however slowly it fills. An empty answer means an empty queue unless
    other calls bring something meanwhile. A call that fails, after botocore's retries, ends it with its
    error, once what the other calls brought has been handed over. Close the generator to end it early.

    A FIFO queue shows the rest of a message group only once what it has shown is deleted. So there an
    empty answer ends only a pass: the caller must have deleted all its chunks when it asks for the next.
    """
    while True:
        receiver = Receiver(consumer.receive, limit=limit, deadline=deadline, threads=threads, pool=pool, bounds=bounds)
        try:
            yield from receiver.chunks()
        finally:
            receiver.close()
        limit -= receiver.handed_over
        if not consumer.queue.is_fifo or not receiver.handed_over:
            return


@dataclass(slots=True)
class Answer:
    """The bytes of a call's answer, once it may be read."""

    bytes: int = 0


class Receiver:
    """Receive calls in a pool, and the messages that they bring, as chunks.

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
        self.handed_over = 0  # messages that the caller has taken
        self._call = call
        self._deadline = deadline
        self._threads = threads
        self._pool = pool
        self._bounds = bounds
        self._lock = Lock()
        self._room = Condition(self._lock)  # notified when there may be more of it
        self._state = State(unclaimed=limit)
        self._ready: SimpleQueue[Chunk | None] = SimpleQueue()  # in order; None is the end

    def chunks(self) -> Iterator[list[Received]]:
        """Yield what the calls bring until the last one has ended; then raise the first error among them."""
        yield from iter(self._next_chunk, None)  # which holds no chunk while the next one is on its way
        if self._state.failure:
            raise self._state.failure

    def close(self) -> None:
        """Start no more calls; those that run end by themselves."""
        with self._lock:
            self._state.open = False
            self._state.abandoned = True
            self._room.notify_all()

    def _next_chunk(self) -> list[Received] | None:
        """Wait for the next chunk, and start the calls for which it makes room; None at the end."""
        with self._lock:
            self._start_calls()
        while True:
            with self._lock:
                patience = max(0, self._bounds.seconds - self._state.growing.age())
            try:
                chunk = self._ready.get(timeout=patience)
                break
            except Empty:
                with self._lock:
                    if self._state.growing.age() >= self._bounds.seconds:
                        self._make_ready()
                    self._start_calls()
        if chunk is None:
            return None
        with self._lock:
            self.handed_over += len(chunk.messages)
            self._state.waiting_messages -= len(chunk.messages)
            self._state.waiting_bytes -= chunk.bytes
            self._room.notify_all()
            self._start_calls()
        return chunk.messages

    def _start_calls(self) -> None:
        """Start the calls that are allowed and have room; where none runs then, and none may, this is the end."""
        state = self._state
        while self._may_start() and state.running < self._threads and state.has_room(self._bounds):
            size = min(CALL_SIZE, state.unclaimed)
            state.unclaimed -= size
            state.running += 1
            self._pool.submit(self._run, size)
        if not state.running:
            self._make_ready()
            if not self._may_start():
                self._ready.put(None)

    def _may_start(self) -> bool:
        """Whether there is anything that one more call may receive, and time for it."""
        return self._state.open and self._state.unclaimed > 0 and monotonic() < self._deadline

    def _make_ready(self) -> None:
        """Let the caller have what has been received so far."""
        if self._state.growing.messages:
            self._ready.put(self._state.growing)
            self._state.growing = Chunk()

    def _wait_for_room(self, answer: Answer, size: int) -> None:
        """Wait until an answer of so many bytes may be read; CancelledError where nobody wants it any more."""
        with self._lock:
            state = self._state
            state.reading_bytes -= answer.bytes  # of an earlier try of the call
            answer.bytes = 0
            while not state.may_read(size, self._bounds):
                if state.abandoned:
                    raise CancelledError
                self._make_ready()  # there may be no room for what would fill it
                self._room.wait()
            answer.bytes = size
            state.reading_bytes += size

    def _run(self, size: int) -> None:
        """One call, in a thread of the pool."""
        messages: list[Received] = []
        brought, failure = 0, None
        answer = Answer()
        asked = monotonic()
        try:
            with waiting_for_room(partial(self._wait_for_room, answer)):
                messages = self._call(size)
            brought = sum(getsizeof(message.body) for message in messages)
        except BaseException as error:  # noqa: BLE001 - chunks() raises it, after what the other calls have brought
            failure = error
        answered = monotonic()
        with self._lock:
            state = self._state
            state.running -= 1
            state.reading_bytes -= answer.bytes
            self._room.notify_all()
            state.unclaimed += size - len(messages)
            if failure:
                state.failure = state.failure or failure
                state.open = False
            elif messages:
                state.take_in(messages, brought, at=answered)
                if state.growing.is_full(self._bounds):
                    self._make_ready()
            elif state.is_queue_empty(asked, answered):
                state.open = False
            self._start_calls()

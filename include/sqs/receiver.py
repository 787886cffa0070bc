"""Receiving ahead: messages are on their way while the caller stages those before them.

                 ┌─ at most `threads` calls in a pool ─┐
    unclaimed ──►│ running ──► growing chunk ──► ready │──► the caller
                 └─────────────────────────────────────┘

A call claims messages before it starts, and gives back those that it did not bring. What it brings goes into the
growing chunk. That becomes ready when it is full, when it is old, or when nothing more comes. Whoever changes
something starts the calls for which there is room then: a call that ends, and the caller when it takes a chunk.
How large an answer is, is known when its head is there; it is read when there is room for it.

What must hold between them is in `receiver_state.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, Executor
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from sys import getsizeof
from threading import Condition, Lock
from time import monotonic

from include.sqs.calls import CALL_SIZE, Received
from include.sqs.chunk import CHUNK, Chunk, ChunkBounds
from include.sqs.consumer import Consumer
from include.sqs.reading import waiting_for_room
from include.sqs.receiver_state import State


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

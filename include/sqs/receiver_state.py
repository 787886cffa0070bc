"""How far the receiving has come, and what that allows.

While nobody holds the lock,

- `unclaimed`, what running calls have claimed, and what was received add up to `limit`;
- what was received and is not taken by the caller, with what running calls may bring, fits into CHUNKS_AHEAD chunks,
  going by the largest answer of late; but one call always runs when there is nothing else;
- so does that with the answers that are being read; but one is always read when there is nothing else;
- once no call runs and none will be started, the next one to look puts the end behind the last chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from include.sqs.calls import CALL_SIZE, Received
from include.sqs.chunk import Chunk, ChunkBounds

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

"""Chunks: messages that are received, and later staged and deleted, together."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from include.sqs.calls import Received


@dataclass(frozen=True, slots=True)
class ChunkBounds:
    """When a chunk is handed over: at so many messages, so many bytes of bodies, or so many seconds of age."""

    messages: int = 1_000
    bytes: int = 8 * 2**20
    seconds: float = 10


CHUNK = ChunkBounds()


@dataclass(slots=True)
class Chunk:
    """Messages in the order of their arrival, the bytes of their bodies, and when the first call brought some."""

    messages: list[Received] = field(default_factory=list)
    bytes: int = 0
    began: float = 0.0

    def is_full(self, bounds: ChunkBounds) -> bool:
        """Whether it has as many messages or bytes as a chunk may have."""
        return len(self.messages) >= bounds.messages or self.bytes >= bounds.bytes

    def age(self) -> float:
        """For how many seconds its first message has been waiting; 0 for an empty one."""
        return monotonic() - self.began if self.messages else 0

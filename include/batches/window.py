"""What a run rebuilds: a range of sent times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

SLICE = timedelta(days=1)
INSTANT = timedelta(milliseconds=1)  # as exact as SQS says when a message was sent


@dataclass(frozen=True, slots=True)
class Window:
    """Sent times from `start` to `stop`, which is exclusive."""

    start: datetime
    stop: datetime

    def slices(self, oldest: datetime | None, newest: datetime | None) -> Iterator[Window]:
        """Consecutive pieces of at most a day, of what of the window lies from `oldest` to `newest`.

        So that no transaction grows with the window, and a window of years costs nothing.
        """
        if oldest is None or newest is None:
            return
        start, end = max(self.start, oldest), min(self.stop, newest + timedelta.resolution)
        while start < end:
            stop = min(start + SLICE, end)
            yield Window(start, stop)
            start = stop

    def halves(self) -> tuple[Window, ...]:
        """Both halves, or nothing of a window that is a millisecond long, or shorter."""
        if self.stop - self.start <= INSTANT:
            return ()
        middle = self.start + (self.stop - self.start) / 2
        return Window(self.start, middle), Window(middle, self.stop)

"""How far something long is, in the log: what is done of what there is, how fast, and how long it will take."""

import logging
from dataclasses import dataclass, field
from time import monotonic

log = logging.getLogger(__name__)

EVERY_SECONDS = 10


@dataclass(slots=True)
class Progress:
    """So many `things` are to be done; says how far it is every ten seconds."""

    things: str
    total: int
    done: int = 0
    _started: float = field(default_factory=monotonic)
    _said: float = field(default_factory=monotonic)

    def add(self, number: int) -> None:
        """So many more are done."""
        self.done += number
        if monotonic() >= self._said + EVERY_SECONDS:
            self._said = monotonic()
            rate = self.done / (self._said - self._started)
            left = f"{max(0, self.total - self.done) / rate:,.0f} s left" if rate else "nothing yet"
            log.info("%d of about %d %s, %.0f a second, %s", self.done, self.total, self.things, rate, left)

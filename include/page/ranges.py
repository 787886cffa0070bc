"""Ranges of time that the page shows, in buckets of equal length."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Range:
    """A span of time in `count` buckets of equal length, which end at `stop`."""

    name: str
    title: str
    count: int
    seconds: int
    stop: datetime

    @property
    def start(self) -> datetime:
        """The beginning of bucket 0."""
        return self.stop - timedelta(seconds=self.count * self.seconds)

    @property
    def has_days(self) -> bool:
        """Whether it is longer than one, so that an hour alone says too little."""
        return self.count * self.seconds > DAY

    def at(self, bucket: int) -> datetime:
        """The beginning of a bucket."""
        return self.start + timedelta(seconds=bucket * self.seconds)

    def label(self, bucket: float) -> str:
        """A time on the axis: the hour, or where several days are shown the day."""
        when = self.start + timedelta(seconds=bucket * self.seconds)
        return f"{when:%m-%d}" if self.has_days else f"{when:%H:%M}"


# Name: what the link says, buckets, and their length in seconds.
RANGES = {
    "1h": ("1 hour", 60, 60),
    "6h": ("6 hours", 72, 300),
    "24h": ("24 hours", 96, 900),
    "7d": ("7 days", 84, 7_200),
    "30d": ("30 days", 90, 28_800),
}
DAY = 86_400


def range_of(name: str, now: datetime, since: datetime | None = None) -> Range:
    """The range of that name, which ends with the bucket of now.

    For a name that is none, the shortest range that has all there is `since` then, and a day at most.
    """
    if name not in RANGES:
        age = (now - since).total_seconds() if since else 0
        fits = (each for each, (_, count, seconds) in RANGES.items() if age <= count * seconds)
        name = next(fits) if age <= DAY else "24h"
    title, count, seconds = RANGES[name]
    end = (int(now.timestamp()) // seconds + 1) * seconds
    return Range(name, title, count, seconds, datetime.fromtimestamp(end, UTC))

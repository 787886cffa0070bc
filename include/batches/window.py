"""Which runs rebuild, and what: a stretch of sent time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from include.failures import SetupError

SLICE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Sent times from `start` up to, and without, `stop`."""

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


class Run(Protocol):
    """What is asked of Airflow's DagRun."""

    run_type: str
    data_interval_start: datetime | None
    data_interval_end: datetime | None


def rebuild_window(run: Run, params: Mapping[str, Any]) -> Window | None:
    """What this run rebuilds from staging instead of draining the queue; None for a run that drains.

    A backfill run rebuilds its data interval, any other run what `rebuild_from` and `rebuild_to`
    (ISO 8601 with an offset) say. Raises SetupError for half a range or an empty one.
    """
    if run.run_type == "backfill":
        if run.data_interval_start is None or run.data_interval_end is None:
            raise SetupError("this backfill run has no data interval: give the DAG a schedule with intervals")
        return Window(run.data_interval_start, run.data_interval_end)
    start, stop = params["rebuild_from"], params["rebuild_to"]
    if not start and not stop:
        return None
    if not start or not stop:
        raise SetupError("params rebuild_from and rebuild_to: give both, or none to drain the queue")
    window = Window(instant("rebuild_from", start), instant("rebuild_to", stop))
    if window.start >= window.stop:
        raise SetupError("params rebuild_from and rebuild_to: the first must be the earlier one")
    return window


def instant(name: str, text: str) -> datetime:
    """The moment that a param gives in ISO 8601, with an offset; SetupError for any other text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SetupError(f"param {name}: not a date-time; write it like 2026-01-31T00:00:00Z") from None
    if moment.tzinfo is None:
        raise SetupError(f"param {name}: has no time zone; end it with Z or an offset such as +01:00")
    return moment

"""What a drain asks of Python and of the kernel while it runs. Without it a message costs up to twice the CPU."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import get_native_id
from time import monotonic

import psutil

STAY_SECONDS = 1


@contextmanager
def all_else_frozen() -> Iterator[None]:
    """Let nobody search all that is there already, such as Airflow, for garbage again and again: a third of our CPU."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def on_one_core() -> Iterator[Core]:
    """Give this thread, and those that join it, the affinity of one core; afterwards this one has its own again."""
    core = Core()
    try:
        yield core
    finally:
        core.leave()


class Core:
    """Where the threads of a drain run: together, on a core that is chosen anew about every second.

    Python's lock lets one of them run at a time, and they hand it on at each call of the kernel. The kernel would run
    the next one on a core that is idle, where nothing of what they share is in the caches.

    Which core it is, is left to the kernel, too. The thread that lands chunks is let go for one of them: when it next
    waits and wakes, it is on an idle core, if there was one, and all follow it there. So drains that share a core part.
    Where the kernel forbids it, or is not Linux, threads run as they did; those that were bound before it did stay.
    """

    def __init__(self) -> None:
        self._allowed: set[int] = set()  # fewer than two cores leave nothing to choose
        with suppress(OSError, AttributeError):
            self._allowed = os.sched_getaffinity(0)
        self._threads = [get_native_id()]
        self._until: float | None = None  # None while the landing thread may run anywhere

    def join(self) -> None:
        """Count the calling thread in, until the drain ends; the next choice binds it, if who started it was free."""
        self._threads.append(get_native_id())

    def choose(self) -> None:
        """To be called by the landing thread before each chunk."""
        if self._until is None and len(self._allowed) > 1:
            self._until = monotonic() + STAY_SECONDS
            try:
                here = {psutil.Process(get_native_id()).cpu_num()}
                for thread in tuple(self._threads):
                    os.sched_setaffinity(thread, here)
            except Exception:  # noqa: BLE001 - whatever it is, a drain does without
                self.leave()
                self._allowed = set()
        elif self._until is not None and monotonic() > self._until:
            self.leave()

    def leave(self) -> None:
        """Let the calling thread, which has chosen, go; the others stay until they end, or follow it."""
        if self._until is not None:
            self._until = None
            with suppress(OSError):
                os.sched_setaffinity(0, self._allowed)

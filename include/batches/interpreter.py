"""What a drain asks of Python and of the kernel while it runs. Without it a message costs up to twice the CPU."""

from __future__ import annotations

import gc
import os
import sys
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
    """Keep this thread, and those that join it, on one core; afterwards this one may run anywhere again."""
    core = Core()
    try:
        yield core
    finally:
        core.leave()


class Core:
    """Where the threads of a drain run: together, on a core that is chosen anew every second.

    Python's lock lets one of them run at a time, and they hand it on at each call of the kernel. The kernel would run
    the next one on a core that is idle, where nothing of what they share is in the caches.

    Which core it is, is left to the kernel, too. The thread that lands chunks is let go for one of them: when it next
    waits and wakes, it is on an idle core, if there is one, and all follow it there. So drains that share a core part.
    Where threads cannot be kept on a core, as on macOS, they run as they did.
    """

    def __init__(self) -> None:
        self._allowed = os.sched_getaffinity(0) if sys.platform == "linux" else set()
        self._threads = {get_native_id()}
        self._chosen_at: float | None = None  # None while the landing thread may run anywhere

    def join(self) -> None:
        """Count the calling thread in, which must not end before the drain. The one that started it has bound it."""
        self._threads.add(get_native_id())

    def choose(self) -> None:
        """To be called by the landing thread before each chunk."""
        if len(self._allowed) <= 1:
            return
        with suppress(OSError, psutil.Error):  # whatever forbids it, the drain does without
            if self._chosen_at is None:
                here = {psutil.Process().cpu_num()}
                for thread in tuple(self._threads):
                    os.sched_setaffinity(thread, here)
                self._chosen_at = monotonic()
            elif monotonic() - self._chosen_at > STAY_SECONDS:
                self.leave()

    def leave(self) -> None:
        """Let the calling thread run anywhere; the others stay until they end, or follow it."""
        with suppress(OSError):
            if self._allowed:
                os.sched_setaffinity(0, self._allowed)
        self._chosen_at = None

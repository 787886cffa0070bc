"""A command at a terminal of its own, whose questions are answered as a person would."""

from __future__ import annotations

import os
import pty
import select
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class AtTerminal:
    """A command that runs; what it has shown so far is in `shown`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.shown = ""
        self._process, self._terminal = pty.fork()
        if self._process == 0:
            os.chdir(folder)
            os.execvpe(command[0], list(command), dict(environment))  # noqa: S606 - a command of the caller's

    def answer(self, question: str, text: str, *, seconds: float = 60) -> None:
        """Wait until the question is shown, and type the answer; RuntimeError where it is not asked."""
        deadline = time.monotonic() + seconds
        while question not in self.shown[-len(question) - 20 :]:
            if time.monotonic() > deadline or not self._read():
                raise RuntimeError(f"nobody asked {question!r}: {self.shown}")
        os.write(self._terminal, f"{text}\n".encode())

    def end(self) -> tuple[int, str]:
        """Wait for the end; the exit code, and what was shown."""
        while self._read():
            pass
        _, status = os.waitpid(self._process, 0)
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(status), self.shown.replace("\r", "")

    def _read(self) -> bool:
        """Read what is shown within a second; False at the end."""
        if not select.select([self._terminal], [], [], 1)[0]:
            return True
        try:
            data = os.read(self._terminal, 65_536)
        except OSError:  # what Linux says at the end
            return False
        self.shown += data.decode()
        return bool(data)

"""How a demonstration is told: its steps, what people type and see, tables, and DAGs that run meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sandbox import airflow, servers
from sandbox.environment import airflow_environment
from sandbox.terminal import AtTerminal

console = Console(highlight=False, width=110)


class Demo:
    """The servers, in the folder `home`, and what the story says of them."""

    def __init__(self, local: servers.Servers, home: Path) -> None:
        self.local = local
        self.home = home
        self.environment = airflow_environment(local, port=servers.free_port())
        self.steps = 0

    def step(self, title: str, *lines: str) -> None:
        """A part of the story begins."""
        self.steps += 1
        console.print(f"\n[bold]{self.steps} · {title}[/bold]")
        self.say(*lines)

    def say(self, *lines: str) -> None:
        """Some lines of the story."""
        for line in lines:
            console.print(f"    {line}", markup=False)

    def run_dag(self, dag_id: str, **params: Any) -> None:
        """Run a DAG once, and show how; RuntimeError, with the end of its output, where it fails."""
        options = ["--conf", json.dumps(params)] if params else []
        self._show(f"$ airflow dags test {' '.join([dag_id, *options])}")
        log = self.home / "dags-test.log"
        with console.status("running …"):
            try:
                airflow.test_dag(dag_id, self.environment, log, *options)
            except subprocess.CalledProcessError:
                raise RuntimeError(f"{log.read_text()[-4_000:]}\n{dag_id} failed; its output is in {log}") from None

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the warehouse, as its superuser."""
        with self.local.connect() as warehouse:
            cursor = warehouse.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def privacy(self, person: str, *arguments: str, given: str = "") -> str:
        """What `python -m include.privacy` says to a person, whatever that is."""
        self._show(f"{person} $ python -m include.privacy {' '.join(arguments)}")
        done = subprocess.run(
            [sys.executable, "-m", "include.privacy", *arguments],
            cwd=servers.PROJECT,
            env=self._environment(person),
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        return self._hear(done.stdout + done.stderr)

    def at_terminal(self, person: str, *arguments: str, answers: Sequence[tuple[str, str]] = ()) -> str:
        """The same at a terminal, where these questions are answered."""
        self._show(f"{person} $ python -m include.privacy {' '.join(arguments)}")
        command = [sys.executable, "-m", "include.privacy", *arguments]
        terminal = AtTerminal(command, self._environment(person), servers.PROJECT)
        for question, answer in answers:
            terminal.answer(question, answer)
        return self._hear(terminal.end()[1])

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Some rows."""
        table = Table(*headers)
        for row in rows:
            table.add_row(*("" if cell is None else str(cell) for cell in row))
        console.print(table)

    def search(self, values: dict[str, str]) -> dict[str, int]:
        """How often each value stands in any table of the warehouse."""
        tables = (
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname !~ '^(pg_|information_)'"
        )
        found = dict.fromkeys(values, 0)
        with self.local.connect() as warehouse:
            for (table,) in warehouse.execute(tables.encode()).fetchall():
                with warehouse.cursor().copy(f"copy (table {table}) to stdout".encode()) as copy:
                    content = b"".join(bytes(block) for block in copy)
                for what, value in values.items():
                    found[what] += content.count(value.encode())
        return found

    def expect(self, is_so: bool, otherwise: str) -> None:  # noqa: FBT001 - it reads as a sentence
        """RuntimeError where the story comes out otherwise than it is told."""
        if not is_so:
            raise RuntimeError(f"The story ends otherwise: {otherwise}")

    def _environment(self, person: str) -> dict[str, str]:
        return {**os.environ, **self.local.libpq_environment(person)}

    def _show(self, command: str) -> None:
        console.print(f"    {command}", style="dim", markup=False, soft_wrap=True)

    def _hear(self, text: str) -> str:
        for line in text.strip().splitlines():
            console.print(f"      {line}", markup=False, soft_wrap=True)
        return text.strip()

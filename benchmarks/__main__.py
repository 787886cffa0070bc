"""Measure every figure, show it, and write docs/performance.md with its charts."""

import argparse
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

# Before anything imports Airflow: its home must not be the user's, no figure needs its database, and a line of log a
# batch would hide the tables.
os.environ.update(
    AIRFLOW_HOME=tempfile.mkdtemp(prefix="airflow-home-"),
    AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql+psycopg2://nobody@127.0.0.1:1/none",
    PYTHONPATH=str(Path(__file__).parents[1]),
)

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmarks import cpu, erasure, landing, memory, merging, overhead, page, rotation, throughput, vault
from benchmarks.bench import bench
from benchmarks.chart import TEMPLATES, svg
from benchmarks.figures import HEADERS, Section, Table
from include.sqs.plan import MAX_THREADS
from sandbox.servers import PROJECT

GROUPS = {
    "throughput": throughput.section,
    "cost": cpu.section,
    "memory": memory.section,
    "landing": landing.section,
    "merging": merging.section,
    "rotation": rotation.section,
    "erasure": erasure.section,
    "vault": vault.section,
    "overhead": overhead.section,
    "page": page.section,  # the last one: it leaves a month of partitions behind
}


def main() -> None:
    """Parse the command line, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    parser.add_argument("--into", type=Path, default=PROJECT / "docs", help="folder of the page (default: docs)")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    started = time.monotonic()
    sections: dict[str, Section] = {}
    with bench(quick=arguments.quick) as servers:
        for name, measure in GROUPS.items():
            console.print(f"[dim]{time.monotonic() - started:4.0f} s[/dim] measuring {name} …")
            sections[name] = measure(servers)
            for table in (_summary([sections[name]]), *sections[name].tables):
                _print(console, table)
        with servers.connect() as warehouse:
            postgres = warehouse.info.server_version // 10_000
    took = f"{(time.monotonic() - started) / 60:.1f} minutes"
    write(arguments.into, sections, machine=f"{_machine()}, PostgreSQL {postgres}", took=took, quick=arguments.quick)
    console.print(f"[green]✓[/green] {arguments.into / 'performance.md'}")


def write(folder: Path, sections: dict[str, Section], *, machine: str, took: str, quick: bool) -> None:
    """Write the page and its charts."""
    text = TEMPLATES.get_template("page.md.jinja").render(
        sections=sections,
        summary=_markdown(_summary(sections.values())),
        markdown=_markdown,
        date=datetime.now(UTC).date(),
        machine=machine,
        commit=_commit(),
        took=took,
        quick=quick,
        warm_ups=merging.WARM_UPS,
        months=merging.MONTHS,
        threads=MAX_THREADS,
    )
    (folder / "performance.md").write_text(text)
    for section in sections.values():
        if section.chart:
            (folder / f"{section.chart.name}.svg").write_text(svg(section.chart))


def _summary(sections: Iterable[Section]) -> Table:
    return Table(HEADERS, [figure.cells() for section in sections for figure in section.figures])


def _markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    rule = ["---"] + ["---:"] * (len(table.headers) - 1)
    return "\n".join(map(line, (table.headers, rule, *table.rows)))


def _print(console: Console, table: Table) -> None:
    shown = RichTable(*table.headers)
    for row in table.rows:
        shown.add_row(*(escape(cell.strip("`*")) for cell in row))
    console.print(shown)


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores of {model}, {platform.system()}, Python {platform.python_version()}"


def _commit() -> str:
    def git(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=PROJECT, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S607 - the user's git

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs") else ""
    return git("rev-parse", "--short", "HEAD") + changed


if __name__ == "__main__":
    main()

"""What the maintenance did, and how large the tables are, as tables for a log."""

from collections.abc import Mapping

import psycopg
from tabulate import tabulate

from include.warehouse.statements import statement
from include.warehouse.transactions import transaction


def outcome_table(tasks: Mapping[str, Mapping[str, str] | None]) -> str:
    """One line for each thing that a task did or left; a task that returned None has failed."""
    lines = [
        (task, thing, outcome)
        for task, outcomes in tasks.items()
        for thing, outcome in ({"": "failed: see its log"} if outcomes is None else outcomes).items()
    ]
    table: str = tabulate(lines, ["task", "what", "outcome"])
    return table


def size_table(connection: psycopg.Connection) -> str:
    """The tables, with their partitions: rows as last estimated, megabytes with indexes."""
    with transaction(connection):
        sizes = connection.execute(statement("warehouse/table_sizes")).fetchall()
    rows = [(name, tables, int(estimate), round(int(size) / 2**20, 1)) for name, tables, estimate, size in sizes]
    table: str = tabulate(rows, ["table", "parts", "rows, estimated", "MiB"], intfmt=",", floatfmt=",.1f")
    return table

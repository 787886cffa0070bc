"""What the maintenance did, and how large the tables are, as tables for a log."""

from collections.abc import Mapping

import psycopg
from tabulate import tabulate

from include.warehouse.statements import statement


def maintenance_table(parts: Mapping[str, Mapping[str, str] | None]) -> str:
    """One line for each thing that a part did or left; a part without an account has failed, and its log says why."""
    lines = [
        (part, thing, outcome)
        for part, account in parts.items()
        for thing, outcome in ({"": "failed: see its log"} if account is None else account).items()
    ]
    table: str = tabulate(lines, ["", "what", "what became of it"])
    return table


def size_table(connection: psycopg.Connection) -> str:
    """The tables, with their partitions: rows as last estimated, megabytes with indexes."""
    rows = [
        (name, tables, int(estimate), round(int(size) / 2**20, 1))
        for name, tables, estimate, size in connection.execute(statement("warehouse/table_sizes"))
    ]
    table: str = tabulate(rows, ["table", "parts", "rows, about", "MiB"], intfmt=",", floatfmt=",.1f")
    return table

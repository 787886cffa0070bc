"""Does it add up? The counts of a run, checked against each other, and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import psycopg
from psycopg.rows import class_row
from tabulate import tabulate

from include.merge import Merged
from include.statements import statement


class Unbalanced(Exception):
    """A run's sums do not hold; the message gives the numbers. A retry would find the same."""


EQUATIONS = (
    ("received", ("staged", "rejected")),
    ("batches", ("merged_batches",)),
    ("staged", ("inserted", "already_there")),
    ("received", ("deleted", "expired", "delete_failed", "deletes_unknown")),
)


@dataclass(frozen=True, slots=True)
class Sums:
    """A run's row of the view `login_etl.history`: sums over its batches.

    `deletes_unknown` counts the received messages of batches whose delete counts are not written.
    """

    batches: int = 0
    merged_batches: int = 0
    received: int = 0
    staged: int = 0
    rejected: int = 0
    inserted: int = 0
    already_there: int = 0
    deleted: int = 0
    expired: int = 0
    delete_failed: int = 0
    deletes_unknown: int = 0
    unbalanced_batches: list[int] | None = None

    def faults(self, reported: Mapping[str, int]) -> list[str]:
        """Each equation that does not hold, with its numbers: `a 3 ≠ b 1 + c 1`.

        `reported` are the sums that the drain tasks returned. Batches of tries that failed are
        recorded without being reported, so those may be more.
        """
        counts = asdict(self)
        faults = [
            f"{_spelled(counts, total)} ≠ {' + '.join(_spelled(counts, part) for part in parts)}"
            for total, parts in EQUATIONS
            if counts[total] != sum(counts[part] for part in parts)
        ]
        if self.unbalanced_batches:  # the faults of two batches may cancel each other out in the sums
            faults.append(f"batches that do not add up: {self.unbalanced_batches}")
        for name, count in reported.items():
            recorded = getattr(self, name)
            if recorded < count:
                faults.append(f"{name} {count} reported by the drain tasks ≠ {recorded} recorded in batches")
        return faults


def _spelled(counts: Mapping[str, int], name: str) -> str:
    return f"{name.replace('_', ' ')} {counts[name]}"


def sum_run(connection: psycopg.Connection, run_id: str) -> Sums:
    """The sums over all batches of a run, zeros where it has none."""
    with connection.cursor(row_factory=class_row(Sums)) as cursor:
        return cursor.execute(statement("sum_run"), {"run_id": run_id}).fetchone() or Sums()


def run_table(connection: psycopg.Connection, run_id: str) -> str:
    """A run's counts as a table for its log: one line for each try of each drain task, and the sums."""
    rows = connection.execute(statement("run_table"), {"run_id": run_id}).fetchall()
    counts = [[count or 0 for count in row[1:]] for row in rows]
    sums = [sum(column) for column in zip(*counts, strict=True)] or [0] * 9
    headers = ["", "batches", "received", "staged", "rejected", "inserted", "already there", "deleted", "expired"]
    lines = [[row[0], *count] for row, count in zip(rows, counts, strict=True)]
    table: str = tabulate([*lines, ["this run", *sums]], [*headers, "delete failed"], intfmt=",")
    return table


def reconcile(sums: Sums, merged: Merged, reported: Mapping[str, int]) -> None:
    """Raise Unbalanced where counts contradict each other.

    `sums` are the run's as recorded, `reported` what its drain tasks returned, `merged` what this
    run has merged, of whichever run.
    """
    faults = sums.faults(reported)
    if merged.staged != merged.inserted + merged.already_there:
        faults.append(f"merged {merged.staged} ≠ inserted {merged.inserted} + already there {merged.already_there}")
    if faults:
        raise Unbalanced("this run does not add up: " + "; ".join(faults))

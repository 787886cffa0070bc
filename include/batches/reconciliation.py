"""Does it add up? The counts of a run, checked against each other, and shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

import psycopg
from psycopg.rows import class_row
from tabulate import tabulate

from include.batches.merge import Merged
from include.warehouse.statements import statement

COLUMNS = ("received", "staged", "rejected", "inserted", "already_there", "deleted", "expired", "delete_failed")
EQUATIONS = (
    ("received", ("staged", "rejected")),
    ("staged", ("inserted", "already_there")),
    ("received", ("deleted", "expired", "delete_failed")),
)


class Unbalanced(Exception):
    """A run's counts contradict each other; the message gives the numbers. A retry would find the same."""


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """A row of `login_etl.batches`. What has not happened yet, or was not recorded before a crash, is None."""

    batch_id: int
    map_index: int
    try_number: int
    received: int
    staged: int
    rejected: int
    inserted: int | None
    already_there: int | None
    deleted: int | None
    expired: int | None
    delete_failed: int | None

    def faults(self) -> Iterator[str]:
        """Each equation that does not hold, with its numbers: `batch 7: staged 3 ≠ inserted 1 + already there 1`."""
        counts = asdict(self)
        for total, parts in EQUATIONS:
            if None not in (numbers := [counts[part] for part in parts]) and counts[total] != sum(numbers):
                sums = " + ".join(f"{_spelled(part)} {counts[part]}" for part in parts)
                yield f"batch {self.batch_id}: {total} {counts[total]} ≠ {sums}"


def run_batches(connection: psycopg.Connection, run_id: str, source: str) -> list[BatchCounts]:
    """The batches of a run, in the order of its drain tasks and their tries."""
    with connection.cursor(row_factory=class_row(BatchCounts)) as cursor:
        return cursor.execute(statement("batches/run_batches"), {"run_id": run_id, "source": source}).fetchall()


def run_table(batches: Sequence[BatchCounts]) -> str:
    """A run's counts as a table for its log: one line for each try of each drain task, and their sums."""
    lines = [
        [f"drain {index}, try {number}" if index >= 0 else f"try {number}", *_sums(list(tried))]
        for (index, number), tried in groupby(batches, key=lambda batch: (batch.map_index, batch.try_number))
    ]
    headers = ["", "batches", *(name.replace("_", "\n") for name in COLUMNS)]
    table: str = tabulate([*lines, ["this run", *_sums(batches)]], headers, intfmt=",")
    return table


def reconcile(batches: Sequence[BatchCounts], merged: Merged, reported: Mapping[str, int]) -> None:
    """Raise Unbalanced where counts contradict each other.

    `batches` are the run's as recorded, `merged` what it has merged, of whichever run, `reported` what
    its drain tasks returned. Batches of tries that failed are recorded without being reported, so the
    recorded sums may be larger.
    """
    faults = [fault for batch in batches for fault in batch.faults()]
    recorded = dict(zip(("batches", *COLUMNS), _sums(batches), strict=True))
    faults += [
        f"{_spelled(name)} {count} reported by the drain tasks ≠ {recorded[name]} recorded in batches"
        for name, count in reported.items()
        if count > recorded.get(name, count)
    ]
    if merged.staged != merged.inserted + merged.already_there:
        faults.append(f"merged {merged.staged} ≠ inserted {merged.inserted} + already there {merged.already_there}")
    if faults:
        raise Unbalanced("this run does not add up: " + "; ".join(faults))


def _sums(batches: Sequence[BatchCounts]) -> list[int]:
    return [len(batches), *(sum(getattr(batch, name) or 0 for batch in batches) for name in COLUMNS)]


def _spelled(name: str) -> str:
    return name.replace("_", " ")

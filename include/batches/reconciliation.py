"""Does it add up? The counts of a run, checked against each other, and shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import psycopg
from psycopg.rows import dict_row
from tabulate import tabulate

from include.batches import counts
from include.batches.counts import EQUATIONS, in_words
from include.batches.merge import Merged
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction


class Unbalanced(Exception):
    """A run's counts contradict each other; the message gives the numbers. A retry would find the same."""


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """The counts of a row of `login_etl.batches`, by name. What has not happened, or was not recorded, is None."""

    batch_id: int
    map_index: int
    try_number: int
    counts: Mapping[str, int | None]

    def faults(self) -> Iterator[str]:
        """Each equation that does not hold, with its numbers: `batch 7: staged 3 ≠ inserted 1 + already there 1`."""
        for equation in EQUATIONS:
            total, numbers = self.counts[equation.total], [self.counts[part] for part in equation.parts]
            if None not in numbers and total != sum(filter(None, numbers)):
                sums = " + ".join(f"{in_words(part)} {self.counts[part]}" for part in equation.parts)
                yield f"batch {self.batch_id}: {equation.total} {total} ≠ {sums}"


def batches_of_run(connection: psycopg.Connection, run_id: str, source: str) -> list[BatchCounts]:
    """The batches of a run, in the order of its drain tasks and their tries."""
    with transaction(connection), connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement("batches/batches_of_run"), {"run_id": run_id, "source": source}).fetchall()
    return [
        BatchCounts(row["batch_id"], row["map_index"], row["try_number"], {name: row[name] for name in counts.ALL})
        for row in rows
    ]


def run_table(batches: Sequence[BatchCounts]) -> str:
    """A run's counts as a table for its log: one line for each try of each drain task, and their sums."""
    lines = [
        [f"drain {index}, try {number}" if index >= 0 else f"try {number}", *_sums(list(tried)).values()]
        for (index, number), tried in groupby(batches, key=lambda batch: (batch.map_index, batch.try_number))
    ]
    headers = ["", "batches", *(name.replace("_", "\n") for name in counts.ALL)]
    table: str = tabulate([*lines, ["this run", *_sums(batches).values()]], headers, intfmt=",")
    return table


def reconcile(batches: Sequence[BatchCounts], merged: Merged, reported: Mapping[str, int]) -> None:
    """Raise Unbalanced where counts contradict each other.

    `batches` are the run's as recorded, `merged` what it has merged, of whichever run, `reported` what
    its tasks returned. Batches of tries that failed are recorded without being reported, so the
    recorded sums may be larger.
    """
    faults = [fault for batch in batches for fault in batch.faults()]
    recorded = _sums(batches)
    faults += [
        f"{in_words(name)} {count} reported by the tasks ≠ {recorded[name]} recorded in batches"
        for name, count in reported.items()
        if count > recorded.get(name, count)
    ]
    if merged.staged != merged.inserted + merged.already_there:
        faults.append(f"merged {merged.staged} ≠ inserted {merged.inserted} + already there {merged.already_there}")
    if faults:
        raise Unbalanced("this run does not add up: " + "; ".join(faults))


def _sums(batches: Sequence[BatchCounts]) -> dict[str, int]:
    """How many batches there are, and the sum of each count; what is not known counts as 0."""
    sums = {name: sum(batch.counts[name] or 0 for batch in batches) for name in counts.ALL}
    return {"batches": len(batches)} | sums

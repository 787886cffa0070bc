"""Does it add up? The counts of a run, checked against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import psycopg
from psycopg.rows import class_row

from include.merge import Merged
from include.statements import statement


class Unbalanced(Exception):
    """A run's sums do not hold; the message gives the numbers. A retry would find the same."""


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums over one run's batches, as the warehouse has them.

    `merged_staged` counts the staged rows of merged batches, `confirmed` the received messages of
    batches whose delete counts are written.
    """

    batches: int
    received: int
    staged: int
    rejected: int
    merged_batches: int
    merged_staged: int
    inserted: int
    already_there: int
    confirmed: int
    deleted: int
    delete_failed: int
    expired: int

    def faults(self, reported: Mapping[str, int]) -> list[str]:
        """Each equation that does not hold, with its numbers: `a 3 ≠ b 1 + c 1`.

        `reported` are the sums that the drain tasks returned. Batches of tries that failed are
        recorded without being reported, so those may be more.
        """
        equations = [
            (
                self.received == self.staged + self.rejected,
                "received {received} ≠ staged {staged} + rejected {rejected}",
            ),
            (self.batches == self.merged_batches, "batches {batches} ≠ merged batches {merged_batches}"),
            (
                self.merged_staged == self.inserted + self.already_there,
                "staged {merged_staged} ≠ inserted {inserted} + already there {already_there}",
            ),
            (
                self.confirmed == self.deleted + self.delete_failed + self.expired,
                "received {confirmed} ≠ deleted {deleted} + delete failed {delete_failed} + expired {expired}",
            ),
        ]
        faults = [text.format(**asdict(self)) for holds, text in equations if not holds]
        for name, count in reported.items():
            recorded = getattr(self, name)
            if recorded < count:
                faults.append(f"{name} {count} reported by the drain tasks ≠ {recorded} recorded in batches")
        return faults


def sum_run(connection: psycopg.Connection, run_id: str) -> Sums:
    """The sums over all batches of a run, zeros where it has none."""
    with connection.cursor(row_factory=class_row(Sums)) as cursor:
        [sums] = cursor.execute(statement("sum_run"), {"run_id": run_id}).fetchall()
    return sums


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

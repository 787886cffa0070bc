"""Does it add up? The counts of a run, shown, and checked against each other and against what a run may reject."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

import psycopg
from psycopg.rows import dict_row
from tabulate import tabulate

from include.batches import counts
from include.batches.counts import EQUATIONS, in_words
from include.events.message import ENOUGH_MESSAGES, Run, Source
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)


class FailedCheck(Exception):
    """What is wrong with a run, with the numbers. A retry would find the same."""


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """The counts of a row of `login_etl.batches`, by name. What has not happened, or was not recorded, is None.

    `lost` are the rows of a batch that waits for its merge which staging does not have.
    """

    batch_id: int
    map_index: int
    try_number: int
    counts: Mapping[str, int | None]
    lost: int = 0

    def faults(self) -> Iterator[str]:
        """Each equation that does not hold, with its numbers: `batch 7: staged 3 ≠ inserted 1 + already there 1`."""
        if self.lost:
            yield f"batch {self.batch_id}: {self.lost} of its {self.counts['staged']} staged rows are gone from staging"
        for equation in EQUATIONS:
            total, numbers = self.counts[equation.total], [self.counts[part] for part in equation.parts]
            if None not in numbers and total != sum(filter(None, numbers)):
                sums = " + ".join(f"{in_words(part)} {self.counts[part]}" for part in equation.parts)
                yield f"batch {self.batch_id}: {equation.total} {total} ≠ {sums}"


def check_run(
    connection: psycopg.Connection,
    run: Run,
    source: Source,
    reported: Mapping[str, int],
    *,
    max_rejected_percent: int = 100,
    left: int | None = None,
) -> None:
    """Log the counts of a run, and raise FailedCheck where something is wrong with it. Writes nothing.

    Wrong are counts that contradict each other, rows that the run was the first to find refused, and a
    larger part of the received messages rejected than `max_rejected_percent`. `reported` are the sums of what its
    tasks returned; `left` is about how many messages are still on the queue.
    """
    batches: list[BatchCounts] = []
    rejected: list[tuple[str, int]] = []
    if not run.rebuilds:
        batches = batches_of_run(connection, run, source)
        if batches:
            log.info("this run:\n%s", run_table(batches))
        rejected = reasons_of_run(connection, run, source)
    if rejected:
        table = tabulate(rejected, ["rejected for", "messages"], intfmt=",")
        log.warning("messages were rejected, and are kept in login_etl.rejected_messages, most of them for\n%s", table)
    log.info("%s", rebuilt(connection, run) if run.rebuilds else summary(batches, rejected, left))
    faults = [
        *imbalances(batches, reported),
        *too_many_rejected(batches, max_rejected_percent, rejected),
        *refusals(connection, run),
    ]
    if faults:
        raise FailedCheck("; ".join(faults))


def imbalances(batches: Sequence[BatchCounts], reported: Mapping[str, int]) -> list[str]:
    """Where the recorded counts contradict each other, or what the run's tasks reported.

    Batches of tries that failed are recorded without being reported, so the recorded sums may be larger.
    """
    recorded = _sums(batches)
    return [fault for batch in batches for fault in batch.faults()] + [
        f"{in_words(name)} {count} reported by the tasks ≠ {recorded[name]} recorded in batches"
        for name, count in reported.items()
        if count > recorded.get(name, count)
    ]


def reasons_of_run(connection: psycopg.Connection, run: Run, source: Source) -> list[tuple[str, int]]:
    """The commonest reasons for which messages of the run were rejected, and of how many."""
    of_run = asdict(run) | {"source": source}
    with transaction(connection):
        return connection.execute(statement("batches/rejected_by_run"), of_run).fetchall()


def rebuilt(connection: psycopg.Connection, run: Run) -> str:
    """What a rebuild did, in one line."""
    with transaction(connection):
        [(rows,)] = connection.execute(statement("batches/rebuilt_by_run"), asdict(run)).fetchall()
    return f"rebuilt {rows:,} rows" if rows else "rebuilt nothing: no row was missing or wrong"


def too_many_rejected(
    batches: Sequence[BatchCounts], max_percent: int, reasons: Sequence[tuple[str, int]] = ()
) -> list[str]:
    """What is wrong where more than so many of a hundred received messages were rejected; of a few it says nothing."""
    sums = _sums(batches)
    rejected, received = sums["rejected"], sums["received"]
    if received < ENOUGH_MESSAGES or rejected * 100 <= max_percent * received:
        return []
    share = f"{rejected} of {received} messages were rejected, more than max_rejected_percent, {max_percent}"
    most = f", most of them for {reasons[0][0]}" if reasons else ""
    return [f"{share}{most}: see login_etl.rejected_messages"]


def refusals(connection: psycopg.Connection, run: Run) -> Iterator[str]:
    """What the table refuses that this run has found, and that still waits."""
    with transaction(connection):
        query = statement("batches/refused_by_run")
        [(rows, ranges)] = connection.execute(query, asdict(run) | {"merged_by": str(run)}).fetchall()
    if rows:
        yield f"public.user_logins refuses {rows} rows, which wait in staging: fix it, and the next run loads them"
    if ranges:
        yield f"{ranges} times of sending were not rebuilt, because public.user_logins refuses their rows"


def batches_of_run(connection: psycopg.Connection, run: Run, source: Source) -> list[BatchCounts]:
    """The batches of a run, in the order of its drain tasks and their tries."""
    of_run = asdict(run) | {"source": source}
    with transaction(connection), connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement("batches/batches_of_run"), of_run).fetchall()
    return [
        BatchCounts(
            row["batch_id"], row["map_index"], row["try_number"], {name: row[name] for name in counts.ALL}, row["lost"]
        )
        for row in rows
    ]


def summary(batches: Sequence[BatchCounts], reasons: Sequence[tuple[str, int]], left: int | None) -> str:
    """A run in one line: `received 1,000, inserted 988, already there 2, rejected 10 (user_id: missing 10), …`."""
    sums = _sums(batches)
    said = [f"{in_words(name)} {sums[name]:,}" for name in ("received", *counts.MERGED, "rejected")]
    if reasons:
        said[-1] += f" ({', '.join(f'{reason} {number:,}' for reason, number in reasons)})"
    return ", ".join(said) + ("" if left is None else f"; about {left:,} left on the queue")


def run_table(batches: Sequence[BatchCounts]) -> str:
    """A run's counts as a table for its log: one line for each try of each drain task, and their sums."""
    lines = [
        [f"drain {index}, try {number}" if index >= 0 else f"try {number}", *_sums(list(tried)).values()]
        for (index, number), tried in groupby(batches, key=lambda batch: (batch.map_index, batch.try_number))
    ]
    headers = ["", "batches", *(name.replace("_", "\n") for name in counts.ALL)]
    table: str = tabulate([*lines, ["this run", *_sums(batches).values()]], headers, intfmt=",")
    return table


def _sums(batches: Sequence[BatchCounts]) -> dict[str, int]:
    """How many batches there are, and the sum of each count; what is not known counts as 0."""
    sums = {name: sum(batch.counts[name] or 0 for batch in batches) for name in counts.ALL}
    return {"batches": len(batches)} | sums

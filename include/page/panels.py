"""What the page shows below the verdict: charts, runs, rejects, shared masks, tables. Each from one query."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from include.page.charts import Chart, Series, bars, count_scale, lines, number, time_scale
from include.page.links import DRAIN, log_of_task
from include.page.ranges import Range
from include.page.reading import ask
from include.page.wording import duration
from include.warehouse.statements import statement

RUNS = 12
REASONS = 8
MOST_RULES = 5  # with a colour of their own
SHARED = 5
PARTITIONS = 6
RULE_STYLES = ("a", "b", "c", "d", "e", "rest")


@dataclass(frozen=True, slots=True)
class Run:
    """A run with its sums; without batches these are None. `tasks` are the map indexes of its drains."""

    dag_id: str | None
    run_id: str
    began_at: datetime | None
    source: str | None
    rebuilds: bool
    waiting: int | None
    batches: int
    received: int | None
    inserted: int | None
    already_there: int | None
    rejected: int | None
    refused: int | None
    unmerged: int | None
    not_deleted: int | None
    tasks: list[int] | None
    rebuilt: int | None

    @property
    def log(self) -> str:
        """Where the log is that says most of the run: its sums, or why there are none."""
        if not self.batches and self.waiting is None and not self.rebuilds:
            return log_of_task(self.dag_id, self.run_id, "check_setup")
        return log_of_task(self.dag_id, self.run_id, "merge_user_logins" if self.unmerged else "check_run")

    @property
    def drains(self) -> list[tuple[int, str]]:
        """The map index of each drain, and where its log is; none of a replay."""
        return [
            (index, log_of_task(self.dag_id, self.run_id, DRAIN, index)) for index in self.tasks or () if index >= 0
        ]

    @property
    def outcome(self) -> str:
        """What became of it, in a word or two."""
        if self.rebuilds:
            return f"rebuilt {self.rebuilt:,} rows" if self.rebuilt else "rebuilt nothing"
        if not self.batches:
            return {None: "did not see its queue", 0: "nothing came"}.get(self.waiting, "took nothing")
        if self.unmerged:
            return "not all merged"
        if self.refused:
            return "rows are refused"
        return "all loaded" if not self.not_deleted else "all loaded, some come again"


@dataclass(frozen=True, slots=True)
class Rejects:
    """Rejected messages of a range: by rule as a chart, and by reason with how many can be replayed."""

    chart: Chart
    reasons: list[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class SharedMasks:
    """Masks that several users have: `what, mask, users, logins`, as of a time; None before the first count."""

    counted_at: datetime | None
    masks: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the warehouse: rows as estimated, None before that; bytes with indexes; its newest filled parts."""

    name: str
    rows: int | None
    bytes: int
    parts: int
    filled: int
    newest: list[str] | None
    newest_rows: list[int | None] | None
    newest_bytes: list[int] | None

    @property
    def newest_parts(self) -> list[tuple[str, int | None, int]]:
        """Name, rows and bytes of each."""
        return list(zip(self.newest or (), self.newest_rows or (), self.newest_bytes or (), strict=True))


def flow_charts(connection: psycopg.Connection, span: Range) -> list[Chart]:
    """What came and what became of it; and how long that took."""
    rows = ask(connection, "buckets", **_bounds(span))
    names = {
        "inserted": "good",
        "already_there": "known",
        "unmerged": "waits",
        "refused": "refused",
        "rejected": "bad",
    }
    said = {"already_there": "already there", "unmerged": "not merged yet"}
    parts = [
        Series(said.get(name, name), style, {row["bucket"]: int(row[name]) for row in rows})
        for name, style in names.items()
    ]
    lag = Series("lag", "line", {row["bucket"]: row["lag"] for row in rows if row["lag"] is not None})
    received = number(sum(row["received"] for row in rows))
    every = duration(span.seconds)
    return [
        bars(
            f"Messages received, per {every}: {received} in {span.title}",
            span,
            parts,
            empty="No messages came in this time",
        ),
        lines(
            f"Lag: how long the slowest message took from sent to merged, per {every}",
            span,
            [lag],
            empty="Nothing was merged in this time",
            scale=time_scale,
            says=duration,
        ),
    ]


def depth_chart(connection: psycopg.Connection, span: Range) -> Chart:
    """What runs saw on their queues."""
    rows = ask(connection, "depths", **_bounds(span))
    series = [
        Series(said, style, {row["bucket"]: row[name] for row in rows if row[name] is not None})
        for name, said, style in (("waiting", "waiting", "line"), ("dead_letters", "dead letters", "bad"))
    ]
    return lines(
        "On the queue when runs began: waiting, and dead letters",
        span,
        series,
        empty="No run saw its queue in this time",
        scale=count_scale,
        says=number,
    )


def rejects(connection: psycopg.Connection, span: Range) -> Rejects:
    """What was rejected, by rule and by reason."""
    rows = ask(connection, "rejects", **_bounds(span))
    by_rule: dict[str, Counter[int]] = defaultdict(Counter)
    by_reason: Counter[str] = Counter()
    replayable: Counter[str] = Counter()
    for row in rows:
        for rule in row["reason"].split("; "):
            by_rule[rule][row["bucket"]] += row["messages"]
        by_reason[row["reason"]] += row["messages"]
        replayable[row["reason"]] += row["replayable"]
    commonest = sorted(by_rule.items(), key=lambda item: (-item[1].total(), item[0]))
    named = commonest[: MOST_RULES + 1]
    if len(commonest) > len(named):
        named, others = commonest[:MOST_RULES], commonest[MOST_RULES:]
        named.append((f"{len(others)} others", sum((counts for _, counts in others), Counter())))
    series = [Series(rule, style, counts) for (rule, counts), style in zip(named, RULE_STYLES, strict=False)]
    chart = bars(
        f"Rules that rejected messages broke, per {duration(span.seconds)}",
        span,
        series,
        empty="No message was rejected in this time",
    )
    reasons = [(reason, messages, replayable[reason]) for reason, messages in by_reason.most_common(REASONS)]
    return Rejects(chart, reasons)


def last_runs(connection: psycopg.Connection) -> list[Run]:
    """The last runs, the newest first."""
    with connection.cursor(row_factory=class_row(Run)) as cursor:
        return cursor.execute(statement("page/last_runs"), {"runs": RUNS}).fetchall()


def shared(connection: psycopg.Connection) -> SharedMasks:
    """The devices and addresses that most users share."""
    masks = [
        row | {"what": what}
        for what, field in (("device", "device_id"), ("address", "ip"))
        for row in ask(connection, "shared", field=field, rows=SHARED)
    ]
    [(counted_at,)] = connection.execute(statement("page/counted_at")).fetchall()
    return SharedMasks(counted_at, masks)


def checks(connection: psycopg.Connection) -> Sequence[Mapping[str, Any]]:
    """The latest result of each data check: `name, passed, found, checked, says, checked_at`."""
    return ask(connection, "checks")


def tables(connection: psycopg.Connection) -> list[Table]:
    """The tables, with their newest partitions."""
    with connection.cursor(row_factory=class_row(Table)) as cursor:
        return cursor.execute(statement("page/partitions"), {"parts": PARTITIONS}).fetchall()


def _bounds(span: Range) -> dict[str, object]:
    return {"start": span.start, "stop": span.stop, "seconds": span.seconds}

"""What Prometheus scrapes: the metrics, by name, and their values as its text format has them.

All are read from the warehouse, so that every API server says the same, across restarts, and also while no task runs.
They are sums and times: no mask, user or message is among them.
"""

from __future__ import annotations

import hmac
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import psycopg

from include.page.reading import reading
from include.warehouse.partitions import has_months
from include.warehouse.statements import statement

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "user_logins_"
DAG = ("dag",)


@dataclass(frozen=True, slots=True)
class Metric:
    """A family of values, one for each combination of its labels; a counter never falls."""

    name: str
    type: Literal["counter", "gauge"]
    unit: str
    help: str
    labels: tuple[str, ...] = DAG


METRICS = (
    Metric("received_total", "counter", "messages", "Received: staged + rejected"),
    Metric("staged_total", "counter", "messages", "Staged: valid logins, each copy of a message counted"),
    Metric("rejected_total", "counter", "messages", "Rejected: no valid login, each copy of a message counted"),
    Metric(
        "broken_rules_total",
        "counter",
        "messages",
        "Rejected, by each field and rule that was broken; a further copy of a message is not counted",
        ("field", "rule"),
    ),
    Metric("inserted_total", "counter", "rows", "Inserted into user_logins"),
    Metric("already_there_total", "counter", "rows", "Merged, but in user_logins before: redeliveries"),
    Metric("deleted_total", "counter", "messages", "Deleted from the queue"),
    Metric("delete_failed_total", "counter", "messages", "Could not be deleted; they come again"),
    Metric("expired_total", "counter", "messages", "Too late to be deleted; they come again"),
    Metric("refused_rows", "gauge", "rows", "Wait in staging now, because user_logins refuses them"),
    Metric(
        "lag_seconds",
        "gauge",
        "seconds",
        "From sent to merged: the longest of what was merged from the queue in the last 15 minutes; else absent",
    ),
    Metric(
        "oldest_unmerged_seconds",
        "gauge",
        "seconds",
        "Since the oldest message that is staged and not merged was sent; 0 if there is none",
    ),
    Metric(
        "oldest_unmerged_batch_seconds",
        "gauge",
        "seconds",
        "Since the oldest batch that is not merged was staged; 0 if there is none",
    ),
    Metric("last_merge_timestamp_seconds", "gauge", "Unix time", "When a batch was last merged"),
    Metric("last_run_timestamp_seconds", "gauge", "Unix time", "When a run last began"),
    Metric("backlog_messages", "gauge", "messages", "On the queue when a run last saw it; absent after an hour"),
    Metric("in_flight_messages", "gauge", "messages", "Received and not deleted, as the last run saw it; likewise"),
    Metric("dead_letter_messages", "gauge", "messages", "On the dead-letter queue; likewise, and absent without one"),
    Metric(
        "default_partition_rows",
        "gauge",
        "rows",
        "In user_logins_default, which have no month; counted up to 1000. Absent for an adopted table",
        (),
    ),
)


def authorised(authorization: str | None, secret: str) -> bool:
    """Whether the header, as ASGI decodes it (from Latin-1), is `Bearer` and the secret; False where that is empty.

    >>> authorised("Bearer correct", "correct"), authorised("Bearer wrong", "correct"), authorised(None, "correct")
    (True, False, False)
    """
    scheme, _, token = (authorization or "").partition(" ")
    given = token.strip().encode("latin-1", "backslashreplace")
    same = hmac.compare_digest(given, secret.encode("utf-8", "surrogatepass"))
    return same and bool(secret) and scheme.lower() == "bearer"


def exposition(connection: psycopg.Connection) -> str:
    """All metrics in Prometheus' text format, version 0.0.4. The connection must be in autocommit mode.

    psycopg's QueryCanceled where the warehouse is too slow, UndefinedTable where no run has prepared it yet.
    https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    with reading(connection):
        samples = connection.execute(statement("page/metrics")).fetchall()
        if has_months(connection):
            samples += connection.execute(statement("page/default_partition_rows")).fetchall()
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for name, labels, value in samples:
        by_name[name].append(f"{labels_of(name, labels)} {value}")
    return "".join(line for metric in METRICS for line in family(metric, by_name[metric.name]))


def family(metric: Metric, values: Sequence[str]) -> list[str]:
    """The lines of a metric, `values` being its samples without its name."""
    name = f"{PREFIX}{metric.name}"
    return [f"# HELP {name} {metric.help}\n", f"# TYPE {name} {metric.type}\n", *(f"{name}{each}\n" for each in values)]


def labels_of(name: str, values: Sequence[str]) -> str:
    r"""The labels of a metric with their values, escaped.

    >>> print(labels_of("received_total", ['a"b']))
    {dag="a\"b"}
    """
    [labels] = [metric.labels for metric in METRICS if metric.name == name]
    pairs = (f'{label}="{_escaped(value)}"' for label, value in zip(labels, values, strict=True))
    return f"{{{','.join(pairs)}}}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

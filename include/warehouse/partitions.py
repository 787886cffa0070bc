"""Partitions, made ahead of need: days of staging, months of `user_logins`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from include.warehouse.ddl import raising_setup_errors
from include.warehouse.locks import limit_lock_waits, take_turn
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Partition:
    """One range of days of a partitioned table, from `start` to `stop`, which is exclusive."""

    schema: str
    table: str
    name: str
    start: date
    stop: date


@dataclass(frozen=True, slots=True)
class StagingDay:
    """A day's partition of staging; `age` in days, by the database's clock, 0 for today's."""

    name: str
    day: date
    age: int


def staging_day(day: date) -> Partition:
    """Where batches staged on this UTC day keep their rows."""
    name = f"staging_logins_{day:%Y_%m_%d}"
    return Partition("login_etl", "staging_logins", name, day, day + timedelta(days=1))


def logins_month(month: date) -> Partition:
    """Where logins of this month are."""
    start = month.replace(day=1)
    stop = (start + timedelta(days=31)).replace(day=1)
    return Partition("public", "user_logins", f"user_logins_{start:%Y_%m}", start, stop)


def needed(today: date, *, months: int = 1, days: int = 1) -> list[Partition]:
    """What may be written to from today until so many months and days later.

    Without more, what a run that starts today may write to: messages are up to 14 days old, runs pass midnight.
    """
    last_month = logins_month(today.replace(day=1) - timedelta(days=1))
    logins = [last_month]
    for _ in range(1 + months):
        logins.append(logins_month(logins[-1].stop))
    return [*(staging_day(today + timedelta(days=number)) for number in range(1 + days)), *logins]


def make_partitions(
    connection: psycopg.Connection, today: date | None = None, *, months: int = 1, days: int = 1
) -> list[str]:
    """Create the partitions needed from today (UTC) on that are missing, and return their names.

    The connection must be in autocommit mode. One query where nothing is missing. A table that is
    not partitioned by our column (an adopted one) gets none. A month of
    `user_logins` whose table somebody keeps locked is left to the next run, with a warning: there is
    time, and the default partition. Staging has none, so there it is psycopg's LockNotAvailable.
    """
    partitions = needed(today or datetime.now(UTC).date(), months=months, days=days)
    made: list[str] = []
    for partition in missing_partitions(connection, partitions):
        try:
            if make_partition(connection, partition) is not None:
                made.append(partition.name)
        except psycopg.errors.LockNotAvailable:
            if partition.table != "user_logins":
                raise
            log.warning(
                "partition %s could not be created: %s is locked; the next run tries again",
                partition.name,
                partition.table,
            )
    return made


def make_partition(connection: psycopg.Connection, partition: Partition) -> int | None:
    """Make a partition, in one transaction, and return how many rows it got from the default partition.

    None where it is there already, or a table of its name. psycopg's LockNotAvailable where somebody
    keeps its table locked.
    """
    fix = f"let the role of connection warehouse own {partition.schema}.{partition.table}"
    with raising_setup_errors(f"partition {partition.name}", fix), transaction(connection):
        if partition.table == "user_logins":
            # A row on its way into the default partition would be refused there as soon as its month is attached.
            take_turn(connection, "login_etl.merge")
        take_turn(connection, "login_etl.ddl")
        limit_lock_waits(connection, "partition")
        return _create_and_attach(connection, partition) if missing_partitions(connection, [partition]) else None


def has_months(connection: psycopg.Connection) -> bool:
    """Whether `user_logins` is partitioned by us; an adopted table is not."""
    with transaction(connection):
        [(ours,)] = connection.execute(statement("warehouse/has_months")).fetchall()
    return bool(ours)


def staging_days(connection: psycopg.Connection) -> list[StagingDay]:
    """The days that staging holds, oldest first. A partition that is not exactly one of ours is none of them."""
    with transaction(connection), connection.cursor(row_factory=class_row(StagingDay)) as cursor:
        return cursor.execute(statement("warehouse/staging_days")).fetchall()


def missing_partitions(connection: psycopg.Connection, partitions: list[Partition]) -> list[Partition]:
    """Those of the partitions that are not there, of tables that we partition."""
    with transaction(connection):
        rows = connection.execute(
            statement("warehouse/missing_partitions"),
            {
                "schemas": [partition.schema for partition in partitions],
                "tables": [partition.table for partition in partitions],
                "names": [partition.name for partition in partitions],
            },
        ).fetchall()
    names = {name for (name,) in rows}
    return [partition for partition in partitions if partition.name in names]


def _create_and_attach(connection: psycopg.Connection, partition: Partition) -> int:
    """Make the table aside, move in what the default partition holds of its range, attach it; return the rows moved.

    CREATE … PARTITION OF would lock everybody out of the whole table, ATTACH does so only for the
    default partition. A row left in that one would make both fail. Nothing is deleted from it where nothing is there:
    a publication may forbid it.
    """
    columns = [row[0] for row in connection.execute(statement("warehouse/written_columns"))]
    names = {
        "parent": sql.Identifier(partition.schema, partition.table),
        "partition": sql.Identifier(partition.schema, partition.name),
        "default": sql.Identifier(partition.schema, f"{partition.table}_default"),
        "start": sql.Literal(partition.start.isoformat()),
        "stop": sql.Literal(partition.stop.isoformat()),
        "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
    }
    connection.execute(statement("warehouse/create_partition").format(**names))
    moved = 0
    if partition.table == "user_logins":
        connection.execute(statement("warehouse/lock_default_partition").format(**names))
        [(is_held,)] = connection.execute(statement("warehouse/holds_range").format(**names)).fetchall()
        if is_held:
            moved = connection.execute(statement("warehouse/move_from_default_partition").format(**names)).rowcount
    else:
        connection.execute(statement("warehouse/keep_whole_rows").format(**names))
    connection.execute(statement("warehouse/attach_partition").format(**names))
    return moved

"""Partitions, made ahead of need: days of staging, months of `user_logins`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg import sql

from include.locks import lock, wait_for_locks
from include.statements import statement

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Partition:
    """One range of days, `start` up to and without `stop`, of a partitioned table."""

    schema: str
    table: str
    name: str
    start: date
    stop: date


def staging_day(day: date) -> Partition:
    """Where batches staged on this UTC day keep their rows."""
    name = f"staging_logins_{day:%Y_%m_%d}"
    return Partition("login_etl", "staging_logins", name, day, day + timedelta(days=1))


def logins_month(month: date) -> Partition:
    """Where logins of this month are."""
    start = month.replace(day=1)
    stop = (start + timedelta(days=31)).replace(day=1)
    return Partition("public", "user_logins", f"user_logins_{start:%Y_%m}", start, stop)


def needed(today: date) -> list[Partition]:
    """What a run that starts today may write to: messages are up to 14 days old, runs pass midnight."""
    this_month = logins_month(today)
    return [
        staging_day(today),
        staging_day(today + timedelta(days=1)),
        logins_month(this_month.start - timedelta(days=1)),
        this_month,
        logins_month(this_month.stop),
    ]


def make_partitions(connection: psycopg.Connection, today: date | None = None) -> list[str]:
    """Make the partitions needed today (UTC) that are missing, and return their names.

    The connection must be in autocommit mode. One query where nothing is missing. A table that is
    not partitioned by our column (an adopted one) gets none. A month of
    `user_logins` whose table somebody keeps locked is left to the next run, with a warning: there is
    time, and the default partition. Staging has none, so there it is psycopg's LockNotAvailable.
    """
    partitions = needed(today or datetime.now(UTC).date())
    made: list[str] = []
    for partition in _missing(connection, partitions):
        try:
            with connection.transaction():
                lock(connection, "login_etl.ddl")
                wait_for_locks(connection, at_most="3s")
                if _missing(connection, [partition]):
                    _make(connection, partition)
                    made.append(partition.name)
        except psycopg.errors.LockNotAvailable:
            if partition.table != "user_logins":
                raise
            log.warning(
                "partition %s could not be made: %s is locked; the next run tries again",
                partition.name,
                partition.table,
            )
    return made


def _missing(connection: psycopg.Connection, partitions: list[Partition]) -> list[Partition]:
    rows = connection.execute(
        statement("missing_partitions"),
        {
            "schemas": [partition.schema for partition in partitions],
            "tables": [partition.table for partition in partitions],
            "names": [partition.name for partition in partitions],
        },
    )
    names = {name for (name,) in rows}
    return [partition for partition in partitions if partition.name in names]


def _make(connection: psycopg.Connection, partition: Partition) -> None:
    """Make the table aside, move in what the default partition holds of its range, attach it.

    CREATE … PARTITION OF would lock everybody out of the whole table, ATTACH does so only for the
    default partition. A row left in that one would make both fail.
    """
    names = {
        "parent": sql.Identifier(partition.schema, partition.table),
        "partition": sql.Identifier(partition.schema, partition.name),
        "default": sql.Identifier(partition.schema, f"{partition.table}_default"),
        "start": sql.Literal(partition.start.isoformat()),
        "stop": sql.Literal(partition.stop.isoformat()),
    }
    connection.execute(statement("create_partition").format(**names))
    if partition.table == "user_logins":
        connection.execute(statement("empty_default_partition").format(**names))
    connection.execute(statement("attach_partition").format(**names))

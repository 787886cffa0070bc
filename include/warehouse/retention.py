"""Retention: what is old is dropped, a day of staging or a month of `user_logins` at a time.

A day must be merged, and of a month staging must have no message.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from include.warehouse.locks import limit_lock_waits, take_turn
from include.warehouse.partitions import StagingDay, has_months, staging_days
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)

NAMED = 5  # batches that a line names


@dataclass(frozen=True, slots=True)
class LoginMonth:
    """A month's partition of `user_logins`; `age` in whole months, by the database's clock, 0 for this one."""

    name: str
    start: date
    stop: date
    age: int


def drop_staging_days(connection: psycopg.Connection, *, days: int) -> dict[str, str]:
    """Drop the days of staging that ended `days` whole days ago, one transaction a day; say what became of each.

    By the database's clock; today and yesterday always stay. The connection must be in autocommit mode.
    A day with a batch that is not merged, has rows that `user_logins` refuses, or is not in `login_etl.batches`, stays
    with a warning that names the batches. psycopg's LockNotAvailable where somebody keeps staging locked: what was
    dropped before is dropped.
    """
    done: dict[str, str] = {}
    for old in _older_than(days, connection):
        with transaction(connection):
            take_turn(connection, "login_etl.merge")  # merges and rebuilds read staging
            limit_lock_waits(connection, "partition")
            if old.name not in {still.name for still in _older_than(days, connection)}:
                continue  # somebody else was faster
            rows, unmerged = _rows_and_unmerged_batches(connection, old)
            if not unmerged:
                connection.execute(_for_partition("warehouse/drop_staging_day", old.name))
        if unmerged:
            log.warning("%s is kept, because not all of its rows are merged: %s", old.name, _listed(unmerged))
            done[old.name] = f"kept, not all merged: {_listed(unmerged)}"
        else:
            log.info("dropped %s with %d rows", old.name, rows)
            done[old.name] = f"dropped, {rows:,} rows"
    return done


def drop_login_months(connection: psycopg.Connection, *, months: int | None) -> dict[str, str]:
    """Drop the months of `user_logins` that ended `months` whole months ago, one transaction a month; say which.

    None keeps all. By the database's clock. A month with messages in staging stays, since a rebuild would bring it back
    in part. A table that was there before this project has no months of ours, and is left alone. psycopg's
    LockNotAvailable where somebody keeps the table locked: what was dropped before is dropped.
    """
    if months is None:
        return {"old months": "kept for ever: user_logins_keep_months is not set"}
    if not has_months(connection):
        return {"old months": "kept: public.user_logins is not partitioned by this project"}
    done: dict[str, str] = {}
    for month in [held for held in _months(connection) if held.age > months]:
        with transaction(connection):
            take_turn(connection, "login_etl.merge")  # merges and rebuilds write to it
            limit_lock_waits(connection, "partition")
            if month not in _months(connection):
                continue  # somebody else was faster
            [(oldest, _)] = connection.execute(statement("batches/staged_range")).fetchall()
            is_staged = oldest is not None and oldest.astimezone(UTC).date() < month.stop
            if not is_staged:
                partition = sql.Identifier("public", month.name)
                connection.execute(statement("warehouse/drop_login_month").format(partition=partition))
        done[month.name] = "kept: staging has messages of it" if is_staged else "dropped"
        log.info("%s: %s", month.name, done[month.name])
    return done or {"old months": "none"}


def _months(connection: psycopg.Connection) -> list[LoginMonth]:
    """The months that `user_logins` holds, oldest first."""
    with transaction(connection), connection.cursor(row_factory=class_row(LoginMonth)) as cursor:
        return cursor.execute(statement("warehouse/login_months")).fetchall()


def _older_than(days: int, connection: psycopg.Connection) -> list[StagingDay]:
    """The days that ended more than `days` whole days ago, oldest first."""
    return [held for held in staging_days(connection) if held.age > days]


def _rows_and_unmerged_batches(connection: psycopg.Connection, old: StagingDay) -> tuple[int, list[int]]:
    """How many rows the day's batches say they have, and which batches are not merged; nobody writes to it then."""
    connection.execute(_for_partition("warehouse/lock_staging_day", old.name))
    query = _for_partition("warehouse/staged_day", old.name)
    [(rows, unmerged)] = connection.execute(query, {"day": old.day}).fetchall()
    return int(rows), unmerged or []


def _for_partition(query: str, name: str) -> sql.Composed:
    """The statement with the name of a partition of staging in it."""
    return statement(query).format(partition=sql.Identifier("login_etl", name))


def _listed(batches: list[int]) -> str:
    """The first few batches by number, and how many more there are."""
    more = f" and {len(batches) - NAMED} more" if len(batches) > NAMED else ""
    return f"batch {', '.join(map(str, batches[:NAMED]))}{more}"

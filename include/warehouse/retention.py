"""Retention: days of staging are dropped when they are old enough and every batch in them is merged."""

from __future__ import annotations

import logging

import psycopg
from psycopg import sql

from include.warehouse.locks import limit_lock_waits, take_turn
from include.warehouse.partitions import StagingDay, staging_days
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)

NAMED = 5  # batches that a line names


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

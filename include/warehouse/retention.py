"""Retention: days of staging are dropped when they are old enough and every batch in them is merged."""

from __future__ import annotations

import logging
from datetime import date

import psycopg
from psycopg import sql

from include.warehouse.locks import lock, wait_for_locks
from include.warehouse.partitions import StagingDay, staging_days
from include.warehouse.statements import statement

log = logging.getLogger(__name__)

NAMED = 5  # batches that a line names


def drop_staging_days(connection: psycopg.Connection, *, days: int) -> dict[str, str]:
    """Drop the days of staging that ended `days` whole days ago, one transaction a day; say what became of each.

    By the database's clock; today and yesterday always stay. The connection must be in autocommit mode.
    A day with a batch that is not merged, or is not in `login_etl.batches`, stays with a warning that names the
    batches. psycopg's LockNotAvailable where somebody keeps staging locked: what was dropped before is dropped.
    """
    done: dict[str, str] = {}
    for old in _older_than(days, connection):
        with connection.transaction():
            lock(connection, "login_etl.merge")  # merges and rebuilds read staging
            wait_for_locks(connection, at_most="3s")  # drains, which wait behind us, have 30
            if old.name not in {still.name for still in _older_than(days, connection)}:
                continue  # somebody else was faster
            rows, unmerged = _account(connection, old.name, old.day)
            if not unmerged:
                connection.execute(_of(old.name, "warehouse/drop_staging_day"))
        if unmerged:
            log.warning("%s is kept: not merged yet: %s", old.name, _named(unmerged))
            done[old.name] = f"kept, not merged yet: {_named(unmerged)}"
        else:
            log.info("dropped %s with %d rows", old.name, rows)
            done[old.name] = f"dropped with {rows:,} rows"
    return done


def _older_than(days: int, connection: psycopg.Connection) -> list[StagingDay]:
    return [held for held in staging_days(connection) if held.age > days]


def _account(connection: psycopg.Connection, name: str, day: date) -> tuple[int, list[int]]:
    """How many rows the day's batches say they have, and which batches are not merged."""
    connection.execute(_of(name, "warehouse/lock_staging_day"))
    [(rows, unmerged)] = connection.execute(_of(name, "warehouse/staged_day"), {"day": day}).fetchall()
    return int(rows), unmerged or []


def _of(name: str, query: str) -> sql.Composed:
    return statement(query).format(partition=sql.Identifier("login_etl", name))


def _named(batches: list[int]) -> str:
    more = f" and {len(batches) - NAMED} more" if len(batches) > NAMED else ""
    return f"batch {', '.join(map(str, batches[:NAMED]))}{more}"

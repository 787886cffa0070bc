"""Locks within a transaction: whose turn it is, and how long to wait for it."""

from typing import Literal

import psycopg

from include.warehouse.statements import statement

Name = Literal["login_etl.merge", "login_etl.replay", "login_etl.ddl"]


def lock(connection: psycopg.Connection, name: Name, *, patience: str = "5min") -> None:
    """Wait for our turn, and keep it to the end of the transaction.

    Advisory and of the transaction, so it works through PgBouncer in transaction mode. psycopg's
    LockNotAvailable when it takes longer than `patience`, also for what is locked afterwards.
    """
    connection.execute(statement("warehouse/lock"), {"name": name, "patience": patience})


def wait_for_locks(connection: psycopg.Connection, *, at_most: str) -> None:
    """Let no statement of the transaction wait longer for a lock: whoever comes while we wait, waits behind us."""
    connection.execute(statement("warehouse/lock_timeout"), {"patience": at_most})

"""Locks within a transaction: whose turn it is, and how long to wait for it.

All are of the transaction, so that they work through PgBouncer in transaction mode.
"""

from typing import Literal

import psycopg

from include.warehouse.statements import statement

Turn = Literal["login_etl.merge", "login_etl.replay", "login_etl.ddl", "login_etl.fence"]
Wait = Literal["turn", "staging", "migration", "partition"]

# How long a statement may wait for a lock: whoever comes while we wait, waits behind us.
WAITS: dict[Wait, str] = {
    "turn": "5min",  # unless said otherwise; another merge, replay or migration of ours may take as long
    "staging": "30s",  # so that the messages can still be deleted before SQS shows them to others
    "migration": "10s",  # on a table that others use; a retry comes later
    "partition": "3s",  # drains, which have 30, and readers wait behind us
}


def take_turn(connection: psycopg.Connection, turn: Turn) -> None:
    """Wait for our turn, and keep it to the end of the transaction; psycopg's LockNotAvailable if it takes too long."""
    connection.execute(statement("warehouse/take_turn"), {"turn": turn})


def limit_lock_waits(connection: psycopg.Connection, wait: Wait) -> None:
    """Let no statement of the transaction wait longer for a lock: psycopg's LockNotAvailable then."""
    connection.execute(statement("warehouse/limit_lock_waits"), {"wait": WAITS[wait]})

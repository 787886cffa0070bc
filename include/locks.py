"""Advisory locks, held to the end of a transaction, so that they work through PgBouncer in transaction mode."""

from typing import Literal

import psycopg

from include.statements import statement

Name = Literal["login_etl.merge", "login_etl.ddl"]


def lock(connection: psycopg.Connection, name: Name, *, patience: str = "5min") -> None:
    """Wait for our turn, inside a transaction; psycopg's LockNotAvailable when it takes longer than `patience`.

    What the transaction locks afterwards is waited for no longer either: whoever comes while we wait
    for a lock waits behind us.
    """
    connection.execute(statement("lock"), {"name": name, "patience": patience})

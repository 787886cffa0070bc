"""Adoption: a `user_logins` that was there before this project gets two columns and our key, and nothing else changes.

It comes before the migrations, which then find what they would make. Each step is a transaction of its own, so that
others read the table meanwhile, and a step that failed is tried again alone.
"""

from collections.abc import Iterable, Iterator

import psycopg
from psycopg import sql

from include.warehouse.ddl import OWN, raising_setup_errors
from include.warehouse.locks import limit_lock_waits, take_turn
from include.warehouse.partitions import has_months
from include.warehouse.shape import is_there
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction


def adopt(connection: psycopg.Connection, pending: Iterable[int]) -> None:
    """Give a table that was there before what the migrations of these versions need; nothing for any other table.

    The columns are added without a rewrite. The key is of the rows that have a message id: none yet, so it takes one
    reading of the table, which keeps writers waiting, and no reader. Raises SetupError where the role may not do it.
    """
    if not is_there(connection) or has_months(connection):
        return
    for step in (step for version in sorted(pending) for step in _steps(version)):
        fix = OWN + ", and let no message_id be there twice on a create_date"
        with raising_setup_errors("the adoption of public.user_logins", fix), transaction(connection):
            take_turn(connection, "login_etl.ddl")
            limit_lock_waits(connection, "migration")
            connection.execute(step)


def narrow_key(connection: psycopg.Connection) -> dict[str, str]:
    """Let the key of a table that an early version adopted leave out the rows without a message id; say what was done.

    Its index had all rows, however many of them are not ours. The new one is made in no transaction, as Postgres wants
    it, and so with the session's own time-outs; what a killed try has left of it is no use.
    """
    with transaction(connection):
        [(is_wide,)] = connection.execute(statement("warehouse/has_wide_key")).fetchall()
    if not is_wide:
        return {}
    connection.execute(statement("warehouse/drop_narrow_key"))
    connection.execute(statement("warehouse/create_narrow_key"))
    with transaction(connection):
        take_turn(connection, "login_etl.ddl")
        limit_lock_waits(connection, "partition")
        connection.execute(statement("warehouse/swap_key"))
    return {"key of user_logins": "made anew, for the rows with a message id"}


def _steps(version: int) -> Iterator[sql.Composed]:
    """What a migration would make, and finds instead: 0004 the columns and a key that 0007 drops, 0006 the key."""
    match version:
        case 4:
            yield statement("warehouse/adopt_columns").format()
            yield _key("user_logins_message_key", "message_id", "create_date")
        case 6:
            yield _key("user_logins_key", "create_date", "message_id")


def _key(name: str, *columns: str) -> sql.Composed:
    """The unique index of this name."""
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    return statement("warehouse/adopt_key").format(name=sql.Identifier(name), columns=listed)

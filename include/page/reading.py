"""What the page may ask of the warehouse: little, for a short time, and nothing that writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

MILLISECONDS = 1_500  # for a statement; beyond, whoever looks at the page is told so


@contextmanager
def reading(connection: psycopg.Connection, *, milliseconds: int = MILLISECONDS) -> Iterator[psycopg.Connection]:
    """A read-only transaction whose statements end after so many milliseconds: psycopg's QueryCanceled then. In UTC.

    The connection must be in autocommit mode.
    """
    connection.read_only = True
    with transaction(connection):
        connection.execute(statement("page/limit_time"), {"limit": f"{milliseconds}ms"})
        yield connection


def ask(connection: psycopg.Connection, name: str, **values: object) -> list[dict[str, Any]]:
    """The rows of `sql/page/<name>.sql` by the names of their columns, in the transaction that is open."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement(f"page/{name}"), values).fetchall()

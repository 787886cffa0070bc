"""How the page and its metrics ask the warehouse: they write nothing, and wait for nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

STATEMENT_TIMEOUT = "1500ms"  # a request keeps one of the API server's threads


@contextmanager
def reading(connection: psycopg.Connection) -> Iterator[None]:
    """A transaction that can only read, and whose statements may take a second and a half each.

    psycopg's QueryCanceled beyond that, also where a table is locked. The connection must be in autocommit mode; it can
    only read from then on.
    """
    connection.read_only = True
    with transaction(connection):
        connection.execute(statement("page/limit_time"), {"statement_timeout": STATEMENT_TIMEOUT})
        yield

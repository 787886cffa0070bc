"""A transaction that depends on no default of the session, whoever set it: the role, the database, or a pooler.

All that is asked of the warehouse is asked in one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.pq import TransactionStatus

from include.warehouse.locks import WAITS, Wait
from include.warehouse.statements import statement

STATEMENT_TIMEOUT = "10min"


@contextmanager
def transaction(connection: psycopg.Connection, *, durable: bool = False, wait: Wait | None = None) -> Iterator[None]:
    """Begin, set what correctness needs, and commit at the end of the block; within another one, a savepoint.

    All is set for this transaction only: a session's SET would leak to the other clients of a pooler
    in transaction mode, and be gone at the next transaction. Within another one nothing is set anew
    but what is asked for.

    - Read committed: a merge that waited for another must see what that one did. Read only stays what it is: a
      provider may let a database only be read while its disk is full.
    - Dates in ISO style, the only one that psycopg reads; names without quotes, as they are compared.
    - A statement may take as long as most tasks: a merge takes longer than what a role is usually given.
      It waits for a lock for as long as `wait` says, or for five minutes: psycopg's LockNotAvailable then.
    - `durable`: the commit is on disk before it returns, where the role or the database would let it be
      on its way (`synchronous_commit`). A role that waits for its standbys (`remote_apply`) still does.

    The connection must be in autocommit mode.
    """
    outermost = connection.info.transaction_status == TransactionStatus.IDLE
    if outermost:
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    with connection.transaction():
        if outermost or durable or wait:
            settings = {
                "durable": durable,
                "lock_timeout": WAITS[wait or "turn"],
                "statement_timeout": STATEMENT_TIMEOUT,
            }
            connection.execute(statement("warehouse/set_for_transaction"), settings)
        yield

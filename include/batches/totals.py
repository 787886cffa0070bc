"""The totals: sums over batches that nothing changes any more.

    batches    1 ───────────────── up_to │ up_to + 1 ───────────── newest
                in login_etl.totals, once │ summed by whoever asks for sums since ever

A batch stays behind the line until it is merged, without refused rows, and a day old, and so does each one that was
staged after it. The line and the sums move in one transaction; a statement sees them before or after it. So no sum
falls, and none has a batch twice.
"""

import psycopg

from include.warehouse.locks import take_turn
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction


def add_up_batches(connection: psycopg.Connection) -> int:
    """Add the batches to the totals that nothing changes any more; return how many.

    The connection must be in autocommit mode.
    """
    with transaction(connection):
        take_turn(connection, "login_etl.merge")  # two at once would add the same ones
        [(batches,)] = connection.execute(statement("batches/add_up_batches")).fetchall()
    return int(batches)

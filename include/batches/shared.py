"""The summary of the masks that several users have, in `login_etl.shared_masks`, which two views show.

    count_shared    read the revision ──► count all ──► the merge's turn ──► the same revision? ──► write, revision + 1
                                          into a temporary table             no: begin again
    recount_shared                                      the merge's turn: erase ──► count some, revision + 1

A count takes long, and holds nobody up until it writes. What is erased meanwhile must not come back with it: hence the
revision, which is raised in the merge's turn only.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import psycopg

from include.warehouse.check import refuse_missing_rights
from include.warehouse.locks import take_turn
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)

TRIES = 3
STATEMENT_TIMEOUT = "25min"  # the daily task may take 30


def count_shared(connection: psycopg.Connection) -> dict[str, int]:
    """Count anew which masks several users have; return how many devices and addresses that are.

    Raises SetupError where the role lacks a right, TimeoutError where others changed the summary during each try.
    """
    refuse_missing_rights(connection, "batches/missing_count_rights")
    for _ in range(TRIES):
        if counts := _count(connection):
            log.info("several users share %d devices and %d addresses", counts["devices"], counts["addresses"])
            return counts
        log.info("an erasure or another count went on meanwhile: counting again")
    raise TimeoutError(f"erasures or other counts went on during {TRIES} counts: shared masks are as they were")


def _count(connection: psycopg.Connection) -> dict[str, int] | None:
    """Count and write, in one transaction; None, with nothing written, where the revision was raised meanwhile."""
    with transaction(connection):
        connection.execute(statement("warehouse/show_all_rows"))
        settings = {"statement_timeout": STATEMENT_TIMEOUT}
        [(revision, *_)] = connection.execute(statement("batches/begin_count"), settings).fetchall()
        connection.execute(statement("batches/count_shared"))
        take_turn(connection, "login_etl.merge")
        if not connection.execute(statement("batches/record_count"), {"revision": revision}).rowcount:
            raise psycopg.Rollback
        [(devices, addresses)] = connection.execute(statement("batches/keep_counted")).fetchall()
        return {"devices": devices, "addresses": addresses}
    return None


def recount_shared(connection: psycopg.Connection, masks: Sequence[str]) -> None:
    """Count these masks of the summary anew, and let no count be written that began before.

    The caller has begun a transaction, has the merge's turn, and has changed `user_logins`.
    """
    if masks:
        connection.execute(statement("batches/recount_shared"), {"masks": masks})
    connection.execute(statement("batches/raise_revision"))

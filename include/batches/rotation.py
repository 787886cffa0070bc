"""Rotation: what is masked or sealed under an older key comes under the one in use, without any raw value.

    switch_masking_key ──► rewrap_staging ──► rewrap_user_logins ──► reseal_rejected_bodies
    no batch of an older   batch by batch     page by page, until    what the replay opens;
    key can commit now                        a scan finds no more   then no batch has an older key

In this order: the other way round a rebuild would bring older masks back. How far it is, only the tables say: whoever
is killed anywhere begins again where it ended, and what runs beside it waits no longer than a chunk takes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

import psycopg
from cryptography.exceptions import InvalidTag
from psycopg import sql
from psycopg.rows import dict_row
from tabulate import tabulate

from include.batches.progress import Progress
from include.batches.reconciliation import FailedCheck
from include.batches.rewrap import Place, Rewrapped, pages, rewrap
from include.privacy.fence import begin_masking, masking, switch_masking
from include.privacy.masking import Keyring
from include.privacy.sealing import reseal
from include.privacy.trail import note
from include.warehouse.check import refuse_missing_rights
from include.warehouse.locks import take_turn
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)

CHUNK_PAGES = 384  # some 12 000 rows: a merge waits for less than half a second
PAGE_BODIES = 100  # of 256 KiB at most
ROWS_A_SECOND = 30_000  # for the plan


def plan_rotation(connection: psycopg.Connection, keyring: Keyring) -> bool:
    """Log what there is by key id, and how long a rotation takes; whether there is anything to do. Changes nothing.

    Raises SetupError where the role may not do what a rotation does.
    """
    check_rotation_rights(connection)
    with transaction(connection), connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(statement("privacy/count_kids")).fetchall()
    made = masking(connection)
    used = made.kid if made else keyring.kid
    standing = {keyring.kid: "the newest key"} | {used: "in use"}
    lines = [[row["kid"] or "no mask of ours", standing.get(row["kid"], ""), *list(row.values())[1:]] for row in found]
    log.info("by key id:\n%s", tabulate(lines, ["key id", "", "rows of user_logins", "batches", "bodies"], intfmt=","))
    rows, _, _ = old_masks(connection, keyring)
    if used == keyring.kid and not rows and (made is None or made.is_complete):
        log.info("nothing to do: masks are made with %s, the newest key of connection pii_masking; append one", used)
        return False
    log.info("a rotation to %s changes %d rows, in some %d seconds", keyring.kid, rows, rows // ROWS_A_SECOND)
    return True


def switch_masking_key(connection: psycopg.Connection, keyring: Keyring) -> dict[str, str]:
    """From now on masks are made with the newest key; return which was in use before, and which is.

    Raises SetupError where this keyring is not the newest, or the role may not do the rest; psycopg's LockNotAvailable
    where a batch takes too long to be staged: drains wait behind us.
    """
    check_rotation_rights(connection)
    begin_masking(connection, keyring)
    before = switch_masking(connection, keyring)
    if before != keyring.kid:
        log.info("masks are made with key id %s from now on, and no longer with %s", keyring.kid, before)
    return {"before": before, "in_use": keyring.kid}


def rewrap_staging(connection: psycopg.Connection, keyring: Keyring) -> int:
    """Bring the masks in staging under the key in use, one batch a transaction; return how many rows that were."""
    keyring = in_use(connection, keyring)
    old = list(keyring.kids[:-1])
    with transaction(connection):
        batches = connection.execute(statement("privacy/batches_to_rewrap"), {"kids": old}).fetchall()
    progress = Progress("rows of staging", sum(staged for _, _, staged in batches))
    rows = 0
    for batch_id, staged_on, staged in batches:
        with transaction(connection):
            take_turn(connection, "login_etl.merge")  # who drops a day of staging locks in another order
            claim = {"batch_id": batch_id, "kids": old}
            if connection.execute(statement("privacy/claim_batch_to_rewrap"), claim).fetchone():
                done = rewrap(connection, _of_batch(batch_id, staged_on), keyring)
                if done.refused:
                    raise FailedCheck(f"staging refuses new masks of batch {batch_id}: {_reasons(done)}")
                connection.execute(statement("privacy/record_kid"), {"batch_id": batch_id, "kid": keyring.kid})
                rows += done.rows
        progress.add(staged)
    log.info("%d rows of %d batches in staging have new masks", rows, len(batches))
    return rows


def rewrap_user_logins(connection: psycopg.Connection, keyring: Keyring) -> int:
    """Bring the masks in user_logins under the key in use, and return how many rows that were, once none is left.

    Raises FailedCheck, with the number and the days of the rows that stay as they are, where the table refuses the new
    masks.
    """
    keyring = in_use(connection, keyring)
    old = old_masks(connection, keyring)
    progress = Progress("rows of user_logins", old[0])
    while old[0]:
        tables = leaf_tables(connection)
        done = _rewrap_tables(connection, tables, keyring, progress)
        before, old = old[0], old_masks(connection, keyring)
        # Rows may have been moved meanwhile, from one table to another: then once more.
        have_moved = [table[:2] for table in tables] != [table[:2] for table in leaf_tables(connection)]
        if old[0] and (done.refused or (old[0] >= before and not have_moved)):
            raise FailedCheck(
                f"{old[0]} rows of public.user_logins, of {old[1]} to {old[2]}, keep masks of an older key, because it "
                f"refuses new ones ({_reasons(done) or 'a trigger keeps the old ones'}): fix it, and clear the task"
            )
    log.info("%d rows of user_logins have new masks, and none has a mask of an older key", progress.done)
    return progress.done


def _rewrap_tables(
    connection: psycopg.Connection, tables: Sequence[tuple[str, str, int]], keyring: Keyring, progress: Progress
) -> Rewrapped:
    """One pass over the pages that these tables had; a table that is dropped meanwhile has none."""
    done = Rewrapped()
    for schema, name, number in tables:
        for first in range(0, number, CHUNK_PAGES):
            place = pages(sql.Identifier(schema, name), first, first + CHUNK_PAGES)
            try:
                with transaction(connection):
                    take_turn(connection, "login_etl.merge")
                    chunk = rewrap(connection, place, keyring)
            except psycopg.errors.UndefinedTable:
                if (schema, name) in {table[:2] for table in leaf_tables(connection)}:
                    raise
                break
            progress.add(chunk.rows)
            done.add(chunk)
    return done


def reseal_rejected_bodies(connection: psycopg.Connection, keyring: Keyring) -> dict[str, int]:
    """Seal rejected bodies under the key in use, and record that nothing of an older key is left.

    Bodies that cannot be opened stay as they are. Raises FailedCheck where masks of an older key are left.
    """
    keyring = in_use(connection, keyring)
    old = list(keyring.kids[:-1])
    counts = {"resealed": 0, "unreadable": 0}
    after = UUID(int=0)
    while True:
        with transaction(connection):
            take_turn(connection, "login_etl.replay")
            bounds = {"kids": old, "after": after, "messages": PAGE_BODIES}
            page = connection.execute(statement("privacy/bodies_to_reseal"), bounds).fetchall()
            for message_id, kid, sealed in page:
                try:
                    body = reseal(sealed, key=keyring.key(kid), new_key=keyring.key(keyring.kid), message_id=message_id)
                except InvalidTag:
                    counts["unreadable"] += 1
                    continue
                counts["resealed"] += 1
                values = {"message_id": message_id, "sealed_body": body, "kid": keyring.kid}
                connection.execute(statement("privacy/record_reseal"), values)
        if not page:
            break
        after = page[-1][0]
    with transaction(connection):
        connection.execute(statement("privacy/record_dropped_batches"), {"kids": old, "kid": keyring.kid})
        left = connection.execute(statement("privacy/batches_to_rewrap"), {"kids": old}).fetchall()
    if left or old_masks(connection, keyring)[0]:
        raise FailedCheck("there are masks of an older key: clear rewrap_staging and what follows it")
    with transaction(connection):
        connection.execute(statement("privacy/complete_masking"), {"kid": keyring.kid})
        note(connection, "masks under one key", {"in_use": keyring.kid, **counts})
    log.info("%d rejected bodies are sealed anew, %d could not be opened", counts["resealed"], counts["unreadable"])
    return counts


def in_use(connection: psycopg.Connection, keyring: Keyring) -> Keyring:
    """The keyring as the database has it in use; SetupError where it lacks the key."""
    begin_masking(connection, keyring)
    made = masking(connection)
    return keyring.at(made.kid) if made else keyring


def check_rotation_rights(connection: psycopg.Connection) -> None:
    """The role may do all that a rotation does; SetupError with the statements that let it."""
    refuse_missing_rights(connection, "privacy/missing_rotation_rights")


def old_masks(connection: psycopg.Connection, keyring: Keyring) -> tuple[int, str, str]:
    """How many rows of user_logins have a mask of an older key, and their first and last day.

    What merges and rebuilds had begun before is counted.
    """
    prefixes = [f"{kid}:" for kid in keyring.kids[:-1]]
    with transaction(connection):
        take_turn(connection, "login_etl.merge")
    with transaction(connection):
        connection.execute(statement("warehouse/show_all_rows"))
        [(rows, first, last)] = connection.execute(statement("privacy/old_masks"), {"prefixes": prefixes}).fetchall()
    return rows, str(first), str(last)


def leaf_tables(connection: psycopg.Connection) -> Sequence[tuple[str, str, int]]:
    """The tables that hold the rows of user_logins: schema, name, pages."""
    with transaction(connection):
        return connection.execute(statement("privacy/leaf_tables")).fetchall()


def _of_batch(batch_id: int, staged_on: object) -> Place:
    condition = sql.SQL("stored.staged_on = {} and stored.batch_id = {}")
    table = sql.Identifier("login_etl", "staging_logins")
    return Place(table, condition.format(sql.Literal(staged_on), sql.Literal(batch_id)))


def _reasons(done: Rewrapped) -> str:
    return ", ".join(f"{reason}: {rows}" for reason, rows in done.refused.most_common())

"""The fence: the database says which key masks are made with, and nobody stages under another one.

Whoever stages passes it, in a transaction, before the key id is read; whoever switches to another key closes it, and so
waits until all that is being staged is committed. So old and new workers, with old and new keys, mix safely.
"""

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from include.privacy.masking import Keyring
from include.privacy.tombstones import rewrap_tombstones
from include.privacy.trail import note
from include.warehouse.locks import take_turn
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction


def pass_fence(connection: psycopg.Connection) -> None:
    """Let no switch happen until the transaction ends. The key id must be read by a later statement."""
    connection.execute(statement("warehouse/pass_fence"))


@dataclass(frozen=True, slots=True)
class Masking:
    """The key id that masks are made with, and whether no mask of an older key is left."""

    kid: str
    is_complete: bool


def masking(connection: psycopg.Connection) -> Masking | None:
    """How masks are made; None where nothing was staged yet."""
    with transaction(connection), connection.cursor(row_factory=class_row(Masking)) as cursor:
        return cursor.execute(statement("privacy/masking")).fetchone()


def begin_masking(connection: psycopg.Connection, keyring: Keyring) -> None:
    """Write which key masks are made with, where that is not known: the newest that was used, else the newest one."""
    with transaction(connection):
        used = used_kids(connection)
        newest = next((kid for kid in reversed(keyring.kids) if kid in used), keyring.kid)
        begun = {"kid": newest, "is_complete": used <= {newest}}
        connection.execute(statement("privacy/begin_masking"), begun)


def switch_masking(connection: psycopg.Connection, keyring: Keyring) -> str:
    """Let masks be made with this keyring's newest key from now on; return the key id that was in use before.

    Tombstones are rewrapped, and the trail has it, in the same transaction. SetupError where the keyring lacks the old
    one: there is no way back. psycopg's LockNotAvailable where something is
    being staged for longer than others should wait behind us.
    """
    with transaction(connection, wait="partition"):
        take_turn(connection, "login_etl.fence")
        made = masking(connection)
        before = keyring.at(made.kid).kid if made else keyring.kid
        connection.execute(statement("privacy/switch_masking"), {"kid": keyring.kid})
        rewrap_tombstones(connection, keyring)
        if before != keyring.kid:
            note(connection, "masking key switched", {"before": before, "in_use": keyring.kid})
    return before


def used_kids(connection: psycopg.Connection) -> set[str]:
    """The key ids of all batches' masks."""
    with transaction(connection):
        return {kid for (kid,) in connection.execute(statement("privacy/used_kids"))}

"""Tombstones: who was erased, as a mask, so that nothing that was sent before comes back, redelivered or replayed.

They are read and raised behind the fence: what is staged after one is raised has met it, and what was staged before is
committed. SQS keeps a message for 14 days at most, and a dead letter for 14 more: they end after 30, or when no
rejected body is left that was sent before, whichever is later.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import psycopg

from include.privacy.masking import Keyring
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

DAYS = 30


def tombstones(connection: psycopg.Connection, user_ids: Iterable[str], keyring: Keyring) -> dict[str, datetime]:
    """Which of these users were erased, and when; the caller is behind the fence, and `keyring` is the one in use."""
    masks = {str(keyring.mask(user_id, field="user_id")): user_id for user_id in user_ids if _is_text(user_id)}
    found = connection.execute(statement("privacy/tombstones"), {"masks": list(masks)}).fetchall()
    return {masks[mask]: erased_at for mask, erased_at in found}


def raise_tombstones(connection: psycopg.Connection, user_ids: Iterable[str], keyring: Keyring) -> None:
    """Let nothing of these users that was sent until now be staged with user id or masks.

    In a transaction of the caller's that has closed the fence; `keyring` is the one in use.
    """
    masks = sorted(str(keyring.mask(user_id, field="user_id")) for user_id in user_ids)
    connection.execute(statement("privacy/raise_tombstones"), {"masks": masks})


def rewrap_tombstones(connection: psycopg.Connection, keyring: Keyring) -> None:
    """Bring tombstones under this keyring's newest key, in the caller's transaction, which has closed the fence."""
    old = [mask for (mask,) in connection.execute(statement("privacy/all_tombstones"))]
    masks = {"old": old, "new": [keyring.rewrap(mask) for mask in old]}
    connection.execute(statement("privacy/rewrap_tombstones"), masks)


def end_tombstones(connection: psycopg.Connection) -> int:
    """Drop the tombstones that nothing can meet any more; return how many."""
    with transaction(connection):
        return connection.execute(statement("privacy/end_tombstones"), {"days": DAYS}).rowcount


def _is_text(text: str) -> bool:
    """Whether it can be stored: half of a surrogate pair, which JSON can hold, cannot."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)

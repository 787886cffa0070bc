"""Tombstones: who was erased, as a mask, so that nothing that was sent before comes back, redelivered or replayed.

They are read and raised behind the fence: what is staged after one is raised has met it, and what was staged before is
committed. SQS keeps a message for 14 days at most, and a dead letter for 14 more: they end after 30.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime

import psycopg

from include.events.message import Message
from include.privacy.masking import Keyring
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

DAYS = 30
DECODER = json.JSONDecoder(object_pairs_hook=list)


def tombstones(connection: psycopg.Connection, user_ids: Iterable[str], keyring: Keyring) -> dict[str, datetime]:
    """Which of these users were erased, and when; the caller is behind the fence, and `keyring` is the one in use."""
    masks = {str(keyring.mask(user_id, field="user_id")): user_id for user_id in user_ids}
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


def texts_of(message: Message) -> Iterator[str]:
    """Every text in a message: body and attributes, and where one is JSON, each name and value in it, at any depth."""
    pending: list[object] = [*_outermost(message)]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
            if value.lstrip("\ufeff \t\r\n").startswith(("{", "[", '"')):
                pending.append(_parsed(value))
        elif isinstance(value, list | tuple):
            pending.extend(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield str(value)


def text_of(message: Message) -> str:
    """All that texts_of finds, to be searched. Where nothing is escaped, that is what is there."""
    outermost = _outermost(message)
    return "\n".join(texts_of(message) if any("\\" in text for text in outermost) else outermost)


def _outermost(message: Message) -> list[str]:
    """The body, and the names and contents of the attributes."""
    return [
        message.body,
        *(text for name, content in message.attributes.items() for text in (name, *content.values())),
    ]


def _parsed(text: str) -> object:
    """The JSON value of a text, objects as pairs, since names may be there twice; None for any other text."""
    try:
        return DECODER.decode(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None

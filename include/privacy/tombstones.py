"""Tombstones: who was erased, as a mask, so that nothing that was sent before comes back, redelivered or replayed.

They are read and raised behind the fence: what is staged after one is raised has met it, and what was staged before is
committed. SQS keeps a message for 14 days at most, and a dead letter for 14 more: they end after 30, or when no
rejected body is left that was sent before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from itertools import islice

import psycopg

from include.events.message import Message
from include.privacy.masking import Keyring
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

DAYS = 30
SHORTEST, LONGEST = 8, 128  # characters of a user id that is known by itself; of any
MOST_TEXTS = 10_000  # of a message that are compared with tombstones: others wait behind the fence meanwhile
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
DECODER = json.JSONDecoder(object_pairs_hook=list)


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


def user_ids_in(message: Message) -> set[str]:
    """The texts in a message that may be the user id of a person, up to MOST_TEXTS of them.

    Names and values, at any depth. One of fewer than SHORTEST characters, such as 5, says so often something else that
    it counts only where its name has `user` in it.
    """
    return set(islice((text for name, text in _texts(message) if _may_be_user_id(name, text)), MOST_TEXTS))


def names_user(message: Message, user_id: str) -> bool:
    """Whether a user id stands in a message: as a whole word, or where it is short, as `user_ids_in` has it."""
    if len(user_id) < SHORTEST:
        return user_id in user_ids_in(message)
    text = "\n".join(_outermost(message))
    if "\\" in text:  # else what is in it stands there as it is
        text = "\n".join([text, _unescaped(text), *(inner for _, inner in _texts(message))])
    # Most have none, and finding that out so is a hundred times as fast.
    return user_id in text and whole_word(user_id).search(text) is not None


@cache
def whole_word(text: str) -> re.Pattern[str]:
    """Finds a text where no letter, digit, underscore or hyphen goes on before or behind it.

    >>> [bool(whole_word("u-1").search(text)) for text in ("id=u-1;", '"u-1"', "u-12", "xu-1", "u-1-2")]
    [True, True, False, False, False]
    """
    return re.compile(rf"(?<![\w-]){re.escape(text)}(?![\w-])")


def _is_text(text: str) -> bool:
    """Whether it can be stored: half of a surrogate pair, which JSON can hold, cannot."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _may_be_user_id(name: str, text: str) -> bool:
    return len(text) <= LONGEST and (len(text) >= SHORTEST or "user" in name.lower())


def _texts(message: Message) -> Iterator[tuple[str, str]]:
    """Every text in a message, with the name of what it is in: where one is JSON, also each name and value in that."""
    pending: list[tuple[str, object]] = [("", text) for text in _outermost(message)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, str):
            yield name, value
            if value.lstrip("\ufeff \t\r\n").startswith(("{", "[", '"')):
                pending.append((name, _parsed(value)))
        elif isinstance(value, list):
            for inner in value:
                if isinstance(inner, tuple):
                    yield name, inner[0]
                    pending.append(inner)
                else:
                    pending.append((name, inner))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, str(value)


def _outermost(message: Message) -> list[str]:
    """The body, and the names and contents of the attributes."""
    return [
        message.body,
        *(text for name, content in message.attributes.items() for text in (name, *content.values())),
    ]


def _parsed(text: str) -> object:
    """The JSON value of a text, objects as lists of pairs, since names may be there twice; None for any other text."""
    try:
        return DECODER.decode(text.lstrip("\ufeff \t\r\n"))
    except (ValueError, RecursionError):
        return None


def _unescaped(text: str) -> str:
    """A text with JSON's escapes undone, also where it is not JSON as a whole."""
    plain = ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text).replace('\\"', '"')
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

"""Whether a message that is no login names a person: in its words, and in the JSON in it, however it is wrapped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice

from include.events.message import Message

SHORTEST, LONGEST = 8, 128  # characters of a user id that is known by itself; of any
MOST_TEXTS = 10_000  # of a message that are compared with tombstones: others wait behind the fence meanwhile
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
BLANKS = "\ufeff \t\r\n"  # in front of JSON
DECODER = json.JSONDecoder(object_pairs_hook=list)


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


def whole_word(text: str) -> re.Pattern[str]:
    """Finds a text where no letter, digit, underscore or hyphen goes on before or behind it.

    >>> [bool(whole_word("u-1").search(text)) for text in ("id=u-1;", '"u-1"', "u-12", "xu-1", "u-1-2")]
    [True, True, False, False, False]
    """
    return re.compile(rf"(?<![\w-]){re.escape(text)}(?![\w-])")


def _may_be_user_id(name: str, text: str) -> bool:
    return len(text) <= LONGEST and (len(text) >= SHORTEST or "user" in name.lower())


def _texts(message: Message) -> Iterator[tuple[str, str]]:
    """Every text in a message, with the name of what it is in: where one is JSON, also each name and value in that."""
    pending: list[tuple[str, object]] = [("", text) for text in _outermost(message)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, str):
            yield name, value
            if value.lstrip(BLANKS).startswith(("{", "[", '"')):
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
        return DECODER.decode(text.lstrip(BLANKS))
    except (ValueError, RecursionError):
        return None


def _unescaped(text: str) -> str:
    """A text with JSON's escapes undone, also where it is not JSON as a whole."""
    plain = ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text).replace('\\"', '"')
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

"""The trail: entries that are chained by their hashes, so that a change of one changes all that follow.

    hash_0 = 32 zero bytes
    hash_n = SHA-256(hash_(n-1) ‖ n in decimal ‖ " " ‖ entry_n)

All text is UTF-8; docs/privacy.md has test vectors. Who can rewrite the table can compute all hashes anew: an anchor, a
number and its hash that were written down elsewhere before, shows that.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import psycopg

from include.failures import SetupError
from include.privacy.install import fault_of_privacy
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)

Event = Literal["masking key switched", "masks under one key"]
BEGINNING = bytes(32)
ANCHOR = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


class BrokenTrail(Exception):
    """An entry is not what was written; the message says from which number on."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """An entry's number, and its hash in hex, written `number:hash`."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


def read_anchor(text: str) -> Anchor:
    """An anchor as it was printed; SetupError for any other text."""
    match = ANCHOR.fullmatch(text.strip().lower())
    if not match:
        raise SetupError("an anchor is a number, a colon, and 64 hex digits, as maintain_user_logins prints it")
    return Anchor(int(match[1]), match[2])


def link(previous: bytes, seq: int, entry: str) -> bytes:
    """The hash of an entry, behind the one with the hash `previous`.

    >>> link(BEGINNING, 1, "{}").hex()[:16]
    'a2649b8a604381b3'
    """
    return sha256(previous + f"{seq} {entry}".encode()).digest()


def check_chain(entries: Iterable[tuple[int, str, bytes]], head: Anchor, anchors: Sequence[Anchor] = ()) -> None:
    """Check entries (number, text, hash), in order, up to the head; BrokenTrail where one is not what was written."""
    if late := [anchor for anchor in anchors if anchor.seq > head.seq]:
        raise BrokenTrail(f"entry {late[0].seq}, which was anchored, is gone: the trail ends at {head.seq}")
    previous, last = BEGINNING, 0
    _check_anchors(anchors, 0, previous)
    for seq, entry, digest in entries:
        if seq != last + 1:
            raise BrokenTrail(f"broken at {last + 1}: there is no such entry")
        if link(previous, seq, entry) != digest:
            raise BrokenTrail(f"broken at {seq}: the entry is not the one that was hashed")
        _check_anchors(anchors, seq, digest)
        previous, last = digest, seq
    if (last, previous.hex()) != (head.seq, head.hash):
        raise BrokenTrail(f"broken at {last + 1}: the trail ends there, but its head is {head}")


def verify(connection: psycopg.Connection, anchors: Sequence[Anchor] = ()) -> Anchor:
    """Check the whole trail, and return its head; BrokenTrail where an entry is not what was written."""
    with transaction(connection), connection.cursor(name="trail") as cursor:
        end = head(connection)
        # What is written meanwhile is behind the head.
        check_chain(cursor.execute(statement("privacy/trail"), {"seq": end.seq}), end, anchors)
    return end


def head(connection: psycopg.Connection) -> Anchor:
    """The end of the trail, an anchor for later. It needs schema `privacy`."""
    with transaction(connection):
        [(seq, digest)] = connection.execute(statement("privacy/trail_head")).fetchall()
    return Anchor(seq, digest.hex())


def note(connection: psycopg.Connection, event: Event, counts: Mapping[str, int | str]) -> None:
    """Write what was done, in counts and key ids, in the caller's transaction; into the log where there is no trail."""
    if fault := fault_of_privacy(connection):
        log.info("%s: %s; this log is the only trail, because of schema privacy: %s", event, dict(counts), fault)
        return
    with transaction(connection):
        values = {"event": event, "counts": json.dumps(counts)}
        [(verdict,)] = connection.execute(statement("privacy/note"), values).fetchall()
    if verdict != "noted":
        raise RuntimeError(f"the trail does not take {event}: {verdict}")


def _check_anchors(anchors: Sequence[Anchor], seq: int, digest: bytes) -> None:
    if any(anchor.seq == seq and anchor.hash != digest.hex() for anchor in anchors):
        raise BrokenTrail(
            f"entry {seq} is not the one that was anchored: the trail was rewritten, or the anchor is not its own"
        )

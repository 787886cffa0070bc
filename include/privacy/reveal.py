"""Originals, opened with an officer's private key on the officer's own machine, and shown on its terminal only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import psycopg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tabulate import tabulate

from include.failures import SetupError
from include.privacy.keys import public_bytes
from include.privacy.originals import all_key_ids
from include.privacy.requests import Asked, Disclosed, disclose, disclosed, requests
from include.privacy.terminal import printable
from include.privacy.vault import OpenedKey, key_id_of, open_data_key

COLUMNS = ("create_date", "device_type", "locale", "app_version")  # of a person's row, beside the originals
GONE = "(not kept any more, or never: expired, erased, or from before the vault)"
OTHER_KEY = "(not sealed to this key)"
DAMAGED = "(does not open: it is not what was sealed)"
WHY = {
    "no such request": "there is no such request: python -m include.privacy requests lists them",
    "nobody has decided": "nobody has decided it yet: an approver does, in Airflow, under Required Actions",
    "never decided": "nobody decided it in time: ask again, with a new run of disclose_pii",
    "rejected": "it was rejected",
    "revoked": "it was revoked",
    "expired": "its grant has expired: ask again, with a new run of disclose_pii",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """An item with its originals, in quotes, or with a word in brackets in their place."""

    item: Disclosed
    ip: str | None
    device_id: str | None


def find(connection: psycopg.Connection, request_id: int) -> Asked:
    """A request by its number; SetupError where there is none."""
    for request in requests(connection):
        if request.request_id == request_id:
            return request
    raise SetupError(f"request {request_id}: {WHY['no such request']}")


def check_key(connection: psycopg.Connection, private_key: X25519PrivateKey) -> str:
    """The key id of a private key; SetupError where nothing was ever sealed to it."""
    key_id = key_id_of(public_bytes(private_key))
    if key_id not in (known := all_key_ids(connection)):
        raise SetupError(f"this key, {key_id}, is not one of those that originals are sealed to: {', '.join(known)}")
    return key_id


def reveal(
    connection: psycopg.Connection, request_id: int, private_key: X25519PrivateKey, *, key_id: str
) -> list[Opened]:
    """Record, commit, and then read and open what a request is for; SetupError where it is not granted now."""
    announce(connection, request_id)
    items = disclosed(connection, request_id, key_id=key_id)
    if not items and (standing := find(connection, request_id).standing) != "granted":  # ended just now
        raise SetupError(f"request {request_id}: {WHY[standing]}")
    return list(opened(items, private_key))


def announce(connection: psycopg.Connection, request_id: int) -> None:
    """Say to the database that this login reads it, and commit; SetupError, and it is recorded, where it may not."""
    verdict = disclose(connection, request_id)
    if verdict != "disclosed":
        raise SetupError(f"request {request_id}: {WHY[verdict]}")


def opened(items: Iterable[Disclosed], private_key: X25519PrivateKey) -> Iterator[Opened]:
    """The originals of items; each data key is opened once."""
    keys: dict[tuple[int, bytes], OpenedKey | None] = {}
    for item in items:
        if item.message_id is None or item.batch_id is None:
            yield Opened(item, GONE, GONE)
            continue
        if item.sealed_key is None:
            yield Opened(item, OTHER_KEY, OTHER_KEY)
            continue
        name = (item.batch_id, item.sealed_key)
        if name not in keys:
            keys[name] = _data_key(item.sealed_key, private_key, item.batch_id)
        yield Opened(
            item,
            _open(keys[name], item.sealed_ip, "ip", item),
            _open(keys[name], item.sealed_device_id, "device_id", item),
        )


def table(request: Asked, items: Sequence[Opened]) -> str:
    """What is shown: a line a mask, or a line a row of a person. Nothing that the terminal would obey.

    An original stands in quotes, as Python writes a text, so that it is not taken for a word of ours in brackets.
    """
    if request.is_access:
        headers = ["user_id", *COLUMNS, "ip", "device_id"]
        rows = [["" if cell is None else printable(cell) for cell in _row_of_person(each)] for each in items]
    else:
        headers = ["field", "mask", "original"]
        rows = [[printable(each.item.field), printable(each.item.mask), _original(each)] for each in items]
    return str(tabulate(rows, headers, disable_numparse=True))


def _row_of_person(each: Opened) -> list[object]:
    stored = each.item.stored or {}
    return [*(stored.get(name) for name in ("user_id", *COLUMNS)), each.ip, each.device_id]


def _original(each: Opened) -> str:
    return str(each.device_id if each.item.field == "device_id" else each.ip)


def _data_key(sealed: bytes, private_key: X25519PrivateKey, batch_id: int) -> OpenedKey | None:
    try:
        return open_data_key(sealed, private_key, batch_id=batch_id)
    except (InvalidTag, ValueError):
        return None


def _open(key: OpenedKey | None, sealed: bytes | None, field: str, item: Disclosed) -> str | None:
    if key is None or item.message_id is None:
        return DAMAGED
    try:
        original = key.open(sealed, field=field, message_id=item.message_id)
    except (InvalidTag, ValueError):
        return DAMAGED
    return None if original is None else repr(original)

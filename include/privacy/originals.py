"""Originals in schema `privacy`: kept while a public key is registered there, a partition for each UTC day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from include.failures import SetupError
from include.privacy.install import fault_of_privacy
from include.privacy.vault import DataKey, Recipient
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

TYPES = ("date", "int8", "uuid", "bytea", "bytea")  # of a binary COPY's columns, which casts nothing
Original = tuple[UUID, str | None, str | None]  # a message's id, its ip and its device_id


@dataclass(frozen=True, slots=True)
class Vault:
    """Whether originals are kept, and whether they can be today: the day's partition is there."""

    is_on: bool
    has_today: bool = False


def prepare_vault(connection: psycopg.Connection) -> None:
    """Where originals are kept, make the days that the run needs; SetupError as `find_vault`."""
    if find_vault(connection).is_on:
        make_days(connection)


def find_vault(connection: psycopg.Connection) -> Vault:
    """The vault as it stands; SetupError where originals should be kept, and cannot be: none is left out silently."""
    with transaction(connection):
        [(is_there, is_readable, has_today)] = connection.execute(statement("privacy/vault_standing")).fetchall()
        if not is_there or (is_readable and not recipients(connection)):
            return Vault(is_on=False)
    if fault := fault_of_privacy(connection):
        raise SetupError(
            f"connection warehouse: originals may have to be kept in schema privacy, and cannot be: {fault}"
        )
    return Vault(is_on=True, has_today=has_today)


def recipients(connection: psycopg.Connection) -> list[Recipient]:
    """To whom originals are sealed, nobody while the vault is off; in the caller's transaction. Needs the schema."""
    with connection.cursor(row_factory=class_row(Recipient)) as cursor:
        return cursor.execute(statement("privacy/recipients")).fetchall()


def keep_originals(
    connection: psycopg.Connection,
    originals: Iterable[Original],
    *,
    batch_id: int,
    staged_on: date,
    to: Sequence[Recipient],
) -> None:
    """Seal a batch's originals under a key of its own, and that to each recipient, in the caller's transaction.

    A message without any is left out. Needs the day's partition. SetupError where a public key is none.
    """
    key = DataKey()
    with connection.cursor() as cursor, cursor.copy(statement("privacy/copy_originals")) as copy:
        copy.set_types(TYPES)
        for message_id, ip, device_id in originals:
            if ip is None and device_id is None:
                continue
            sealed_ip = key.seal(ip, field="ip", message_id=message_id)
            sealed_device_id = key.seal(device_id, field="device_id", message_id=message_id)
            copy.write_row((staged_on, batch_id, message_id, sealed_ip, sealed_device_id))
    for recipient in to:
        try:
            sealed_key = key.sealed_to(recipient.public_key, batch_id=batch_id)
        except ValueError:  # a point of low order, which register does not let pass
            raise SetupError(
                f"nothing can be sealed to key {recipient.key_id} in privacy.recipients: let a DBA run: "
                f"python -m include.privacy retire {recipient.key_id}"
            ) from None
        bound = {"staged_on": staged_on, "batch_id": batch_id, "key_id": recipient.key_id, "sealed_key": sealed_key}
        connection.execute(statement("privacy/insert_data_key"), bound)


def make_days(connection: psycopg.Connection, *, ahead: int = 1) -> int:
    """Create the partitions of today and of the days after it that are missing; return how many."""
    with transaction(connection):
        [(made,)] = connection.execute(statement("privacy/make_days"), {"ahead": ahead}).fetchall()
    return int(made)


def expire(connection: psycopg.Connection) -> tuple[int, int]:
    """Drop the days that are over, and end requests that are; return how many days and how many requests.

    psycopg's LockNotAvailable where somebody keeps the table locked: drains wait behind us.
    """
    with transaction(connection):
        [(days,)] = connection.execute(statement("privacy/expire_originals")).fetchall()
    with transaction(connection):
        [(requests,)] = connection.execute(statement("privacy/end_requests")).fetchall()
    return int(days), int(requests)


def register_recipient(connection: psycopg.Connection, public_key: bytes) -> str:
    """Let originals be sealed to a public key, and commit; return `registered`, `already registered`, or why not."""
    with transaction(connection):
        [(verdict,)] = connection.execute(statement("privacy/register"), {"public_key": public_key}).fetchall()
    return str(verdict)


def retire_recipient(connection: psycopg.Connection, key_id: str) -> str:
    """Let nothing more be sealed to a key, in the owner's transaction; return `retired`, or why not."""
    [(verdict,)] = connection.execute(statement("privacy/retire"), {"key_id": key_id}).fetchall()
    return str(verdict)


def change_settings(
    connection: psycopg.Connection, *, keep_originals_days: int | None, grant_hours: int | None
) -> None:
    """How long originals are kept, and grants last, in the owner's transaction; None leaves one as it is."""
    changed = {"keep_originals_days": keep_originals_days, "grant_hours": grant_hours}
    connection.execute(statement("privacy/change_settings"), changed)


def all_key_ids(connection: psycopg.Connection) -> list[str]:
    """The key ids that originals were ever sealed to."""
    with transaction(connection):
        return [key_id for (key_id,) in connection.execute(statement("privacy/all_recipients"))]

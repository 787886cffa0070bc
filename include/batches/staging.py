"""Landing: one chunk of messages becomes one batch, in one transaction."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from datetime import date
from hashlib import sha256
from uuid import UUID

import psycopg
from psycopg import sql

from include.events.login import Login, RejectedMessage
from include.events.message import Message, Origin
from include.events.version import pack_version
from include.privacy.fence import begin_masking, pass_fence
from include.privacy.masking import Keyring, canonical_form, is_address
from include.privacy.mentions import user_ids_in
from include.privacy.originals import keep_originals, recipients
from include.privacy.sealing import seal
from include.privacy.tombstones import tombstones
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

# Of a rejected message that is larger, as SQS counts it, only size and hash are kept: a queue that is flooded must not
# fill the warehouse.
MOST_KEPT = 256 * 2**10
TOO_LARGE = "body: too_large"
NOT_KEPT: dict[str, object] = dict.fromkeys(("sealed_body", "body_bytes", "body_sha256"))
# The columns of `login_etl.staging_logins`, in the order of `staging_row`, with the types of a binary COPY, which casts
# nothing.
COLUMNS = {
    "batch_id": "int8",
    "staged_on": "date",
    "message_id": "uuid",
    "sent_at": "timestamptz",
    "user_id": "varchar",
    "device_type": "varchar",
    "masked_ip": "varchar",
    "masked_device_id": "varchar",
    "locale": "varchar",
    "app_version_text": "varchar",
    "app_version": "int4",
}


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, the UTC day whose partition has its rows, and the key id of its masks; received = staged + rejected.

    `meets_tombstones`: whether somebody was erased of late; `has_vault`: whether there are tables for originals.
    """

    batch_id: int
    staged_on: date
    kid: str
    received: int
    staged: int
    rejected: int
    meets_tombstones: bool = False
    has_vault: bool = False


def stage(
    connection: psycopg.Connection,
    logins: Sequence[tuple[Message, Login]],
    rejects: Sequence[tuple[Message, RejectedMessage]],
    *,
    keyring: Keyring,
    origin: Origin,
) -> Batch:
    """Write masked logins and sealed rejects, and commit: on disk, since the queue's copy is deleted then.

    The connection must be in autocommit mode; inside a transaction of the caller's, that one commits.
    A second copy of a message is staged again, for the merge to recognise; a second copy of a reject
    is ignored, unless the body of the first is forgotten. What an erased user sent before the erasure is staged without
    user id and masks, so that it still counts, and of rejects that name one no body is kept. Masks are made with the
    key that the database names, which may be older than the keyring's newest: SetupError where the keyring lacks it.
    Originals are sealed into the vault, where it is on. Needs today's partition of the staging table, and of the
    vault's. psycopg's LockNotAvailable where somebody keeps a table locked.
    """
    with transaction(connection, durable=True, wait="staging"), connection.cursor() as cursor:
        addresses = [canonical_form(login.ip, field="ip") for _, login in logins]
        pass_fence(connection)
        batch = insert_batch(cursor, logins, rejects, addresses, origin=origin)
        if batch is None:
            begin_masking(connection, keyring)
            batch = insert_batch(cursor, logins, rejects, addresses, origin=origin)
        if batch is None:
            raise RuntimeError("login_etl.masking has no row, although one was written: the batch is not staged")
        keyring = keyring.at(batch.kid)
        erased = erased_messages(connection, logins, rejects, keyring) if batch.meets_tombstones else set()
        copy_logins(cursor, batch, logins, addresses, keyring, erased)
        insert_rejected(cursor, batch, rejects, keyring, erased)
        if batch.has_vault and logins:
            fill_vault(connection, batch, logins, erased)
    return batch


def erased_messages(
    connection: psycopg.Connection,
    logins: Sequence[tuple[Message, Login]],
    rejects: Sequence[tuple[Message, RejectedMessage]],
    keyring: Keyring,
) -> set[UUID]:
    """The ids of messages that name a user who was erased after they were sent."""
    named = [(message, {login.user_id}) for message, login in logins]
    named += [(message, user_ids_in(message)) for message, _ in rejects if len(message.body) <= MOST_KEPT]
    erased = tombstones(connection, set().union(*(names for _, names in named)), keyring)
    return {
        message.message_id
        for message, names in named
        if any(message.sent_at <= erased[name] for name in names & erased.keys())
    }


def insert_batch(
    cursor: psycopg.Cursor,
    logins: Sequence[tuple[Message, Login]],
    rejects: Sequence[tuple[Message, RejectedMessage]],
    addresses: Sequence[str | None],
    *,
    origin: Origin,
) -> Batch | None:
    """The batch's own row; the database gives it its number, its day and the key id of its masks. None if it has none.

    `addresses` are the logins', in canonical form.
    """
    sent = [message.sent_at for message, _ in (*logins, *rejects)]
    versions = (login.app_version for _, login in logins)
    counts = {"received": len(sent), "staged": len(logins), "rejected": len(rejects)}
    cursor.execute(
        statement("batches/insert_batch"),
        {
            **asdict(origin.run),
            "map_index": origin.map_index,
            "try_number": origin.try_number,
            "source": origin.source,
            "queue": origin.queue,
            **counts,
            "unknown_addresses": sum(1 for address in addresses if address and not is_address(address)),
            "unknown_versions": sum(1 for version in versions if version and pack_version(version) is None),
            "oldest_sent_at": min(sent),
            "newest_sent_at": max(sent),
            "started_at": origin.started_at,
        },
    )
    for batch_id, staged_on, kid, meets_tombstones, has_vault in cursor:
        return Batch(batch_id, staged_on, kid, **counts, meets_tombstones=meets_tombstones, has_vault=has_vault)
    return None


def copy_logins(
    cursor: psycopg.Cursor,
    batch: Batch,
    logins: Sequence[tuple[Message, Login]],
    addresses: Sequence[str | None],
    keyring: Keyring,
    erased: AbstractSet[UUID] = frozenset(),
) -> None:
    """The logins, masked; those of erased users without user id and masks. `addresses` are in canonical form."""
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    with cursor.copy(statement("batches/copy_logins").format(columns=columns)) as copy:
        copy.set_types(list(COLUMNS.values()))
        for (message, login), address in zip(logins, addresses, strict=True):
            if erased and message.message_id in erased:
                copy.write_row(staging_row(batch, message, login, None, None, None))
                continue
            masked_ip = keyring.mask_canonical(address, field="ip")
            masked_device_id = keyring.mask(login.device_id, field="device_id")
            copy.write_row(staging_row(batch, message, login, login.user_id, masked_ip, masked_device_id))


def fill_vault(
    connection: psycopg.Connection,
    batch: Batch,
    logins: Sequence[tuple[Message, Login]],
    erased: AbstractSet[UUID] = frozenset(),
) -> None:
    """Keep the logins' originals, sealed to each registered public key, if there is any; not those of erased users."""
    if to := recipients(connection):
        originals = (
            (message.message_id, login.ip, login.device_id)
            for message, login in logins
            if message.message_id not in erased
        )
        keep_originals(connection, originals, batch_id=batch.batch_id, staged_on=batch.staged_on, to=to)


def staging_row(
    batch: Batch,
    message: Message,
    login: Login,
    user_id: str | None,
    masked_ip: str | None,
    masked_device_id: str | None,
) -> tuple[object, ...]:
    """The values of COLUMNS."""
    return (
        batch.batch_id,
        batch.staged_on,
        message.message_id,
        message.sent_at,
        user_id,
        login.device_type,
        masked_ip,
        masked_device_id,
        login.locale,
        login.app_version,
        None if login.app_version is None else pack_version(login.app_version),
    )


def insert_rejected(
    cursor: psycopg.Cursor,
    batch: Batch,
    rejects: Sequence[tuple[Message, RejectedMessage]],
    keyring: Keyring,
    erased: AbstractSet[UUID] = frozenset(),
) -> None:
    """The rejected messages: why, and the whole body with its attributes, sealed; of erased users only why."""
    # In order, so that two drains that hold the same messages cannot deadlock.
    in_order = sorted(rejects, key=lambda pair: pair[0].message_id)
    cursor.executemany(
        statement("batches/insert_rejected"),
        [
            {
                "message_id": message.message_id,
                "batch_id": batch.batch_id,
                "sent_at": message.sent_at,
                "receive_count": message.receive_count,
                "fields": reject.fields,
                "reason": reject.reason,
                "kid": keyring.kid,
                **(kept(message, reject.reason, keyring) if message.message_id not in erased else NOT_KEPT),
            }
            for message, reject in in_order
        ],
    )


def kept(message: Message, reason: str, keyring: Keyring) -> dict[str, object]:
    """What is kept of a rejected message: all of it, sealed, or what its body was like; and the reason with that."""
    body = message.body.encode("utf-8", "surrogatepass")
    attributes = sum(len(name) + len("".join(value.values())) for name, value in message.attributes.items())
    if len(body) + attributes > MOST_KEPT:
        described = {"body_bytes": len(body), "body_sha256": sha256(body).digest()}
        return {"reason": f"{TOO_LARGE}; {reason}", "sealed_body": None, **described}
    sealed = seal(message, key=keyring.key(keyring.kid))
    return {"reason": reason, "sealed_body": sealed, "body_bytes": None, "body_sha256": None}

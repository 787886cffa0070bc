"""Landing: one chunk of messages becomes one batch, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from include.events.login import Login, RejectedMessage
from include.events.message import Message, Origin
from include.events.version import pack_version
from include.privacy.masking import Keyring
from include.privacy.sealing import seal
from include.warehouse.locks import wait_for_locks
from include.warehouse.statements import statement

# The order of sql/copy_logins.sql. A binary COPY casts nothing.
TYPES = ("int8", "date", "uuid", "timestamptz", *["varchar"] * 6, "int4")
PATIENCE = "30s"  # for a lock, so that the messages can still be deleted before SQS shows them to others


@dataclass(frozen=True, slots=True)
class Batch:
    """One committed batch; received = staged + rejected."""

    batch_id: int
    received: int
    staged: int
    rejected: int


def stage(
    connection: psycopg.Connection,
    logins: Sequence[tuple[Message, Login]],
    rejects: Sequence[tuple[Message, RejectedMessage]],
    *,
    keyring: Keyring,
    origin: Origin,
) -> Batch:
    """Write masked logins and sealed rejects, and commit.

    The connection must be in autocommit mode; inside a transaction of the caller's, that one commits.
    A second copy of a message is staged again, for the merge to recognise; a second copy of a reject
    is ignored, unless the body of the first is forgotten. Needs today's partition of the staging
    table. psycopg's LockNotAvailable where somebody keeps a table locked.
    """
    messages = [message for message, _ in (*logins, *rejects)]
    with connection.transaction(), connection.cursor() as cursor:
        wait_for_locks(connection, at_most=PATIENCE)
        cursor.execute(
            statement("batches/insert_batch"),
            {
                "source": origin.source,
                "run_id": origin.run_id,
                "map_index": origin.map_index,
                "try_number": origin.try_number,
                "kid": keyring.kid,
                "received": len(messages),
                "staged": len(logins),
                "rejected": len(rejects),
                "oldest_sent_at": min(message.sent_at for message in messages),
                "newest_sent_at": max(message.sent_at for message in messages),
                "started_at": origin.started_at,
            },
        )
        [(batch_id, staged_on)] = cursor.fetchall()
        with cursor.copy(statement("batches/copy_logins")) as copy:
            copy.set_types(TYPES)
            for message, login in logins:
                copy.write_row(
                    (
                        batch_id,
                        staged_on,
                        message.message_id,
                        message.sent_at,
                        login.user_id,
                        login.device_type,
                        keyring.mask(login.ip, field="ip"),
                        keyring.mask(login.device_id, field="device_id"),
                        login.locale,
                        login.app_version,
                        None if login.app_version is None else pack_version(login.app_version),
                    )
                )
        cursor.executemany(
            statement("batches/insert_rejected"),
            [
                {
                    "message_id": message.message_id,
                    "batch_id": batch_id,
                    "sent_at": message.sent_at,
                    "receive_count": message.receive_count,
                    "reason": reject.reason,
                    "fields": reject.fields,
                    "kid": keyring.kid,
                    "sealed_body": seal(message.body, key=keyring.key(keyring.kid), message_id=message.message_id),
                }
                # In order, so that two drains that hold the same messages cannot deadlock.
                for message, reject in sorted(rejects, key=lambda pair: pair[0].message_id)
            ],
        )
    return Batch(batch_id, len(messages), len(logins), len(rejects))

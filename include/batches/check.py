"""Does staging take what a drain lands? Tried before the first message is taken, since each try costs it a receive."""

from datetime import UTC, datetime
from uuid import uuid4

import psycopg

from include.batches.staging import Batch, copy_logins, fill_vault, insert_rejected
from include.events.login import Login, RejectedMessage
from include.events.message import Message
from include.failures import SetupError
from include.privacy.install import INSTALL, SCHEMA
from include.privacy.masking import Keyring
from include.privacy.originals import find_vault
from include.warehouse.errors import is_refusal, reason_of
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction


def check_staging(connection: psycopg.Connection, keyring: Keyring) -> None:
    """Stage a made-up login and a made-up rejected message, and roll back. SetupError where they are refused.

    The login goes into the vault, too, where it is on and has today's partition. Needs today's partition of staging.
    """
    vault = find_vault(connection)
    now = datetime.now(UTC)
    message = Message(uuid4(), now, receive_count=1, body="{}")
    batch = Batch(batch_id=0, staged_on=now.date(), kid=keyring.kid, received=2, staged=1, rejected=1)
    try:
        with transaction(connection, wait="staging"), connection.cursor() as cursor:
            connection.execute(statement("batches/check_constraints_now"))
            copy_logins(cursor, batch, [(message, Login(user_id="made-up"))], [None], keyring)
            if vault.has_today:
                fill_vault(connection, batch, [(message, Login(user_id="made-up", device_id="made-up"))])
            insert_rejected(cursor, batch, [(message, RejectedMessage([("user_id", "missing")]))], keyring)
            raise psycopg.Rollback
    except psycopg.Error as error:
        if not is_refusal(error):
            raise
        if error.diag.schema_name == SCHEMA or (error.diag.message_primary or "").endswith(" originals"):
            raise SetupError(
                f"connection warehouse: schema privacy refuses made-up originals ({reason_of(error)}): {INSTALL}"
            ) from None
        raise SetupError(
            f"connection warehouse: the tables of schema login_etl refuse a made-up message ({reason_of(error)}): "
            "drop what was added to login_etl.staging_logins or login_etl.rejected_messages, or grant the right"
        ) from None

"""Are the masking keys the ones that earlier batches were masked with? Asked before the first message is taken."""

import logging

import psycopg

from include.failures import SetupError
from include.privacy.fence import masking, used_kids
from include.privacy.masking import Keyring

log = logging.getLogger(__name__)


def check_kids(connection: psycopg.Connection, keyring: Keyring) -> None:
    """Raise SetupError where an earlier batch was masked under a key that this keyring's chain lacks.

    Masks of a swapped key differ for equal values, and every group of duplicates would be split.
    """
    made = masking(connection)
    used = used_kids(connection) | ({made.kid} if made else set())
    if unknown := sorted(used - set(keyring.kids)):
        raise SetupError(
            f"connection pii_masking: earlier batches were masked with key id {', '.join(unknown)}, which is not in "
            f"this keyring's chain ({', '.join(keyring.kids)}): put the missing key back, oldest key first"
        )


def warn_of_rotation(connection: psycopg.Connection, keyring: Keyring) -> None:
    """Warn of a key that nothing is masked with yet, and of masks that a rotation has not reached."""
    made = masking(connection)
    if made and made.kid != keyring.kid:
        log.warning(
            "connection pii_masking has a newer key, %s, than masks are made with, %s: run rotate_masking_key",
            keyring.kid,
            made.kid,
        )
    elif made and not made.is_complete:
        log.warning(
            "there are masks of keys older than %s, which equal no mask of it: run rotate_masking_key to its end",
            made.kid,
        )

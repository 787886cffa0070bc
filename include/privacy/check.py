"""Are the masking keys the ones that earlier batches were masked with? Asked before the first message is taken."""

import psycopg

from include.failures import SetupError
from include.privacy.masking import Keyring
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction


def check_kids(connection: psycopg.Connection, keyring: Keyring) -> None:
    """Raise SetupError where an earlier batch was masked under a key that this keyring's chain lacks.

    Masks of a swapped key differ for equal values, and every group of duplicates would be split.
    """
    with transaction(connection):
        used = {kid for (kid,) in connection.execute(statement("privacy/used_kids"))}
    if unknown := sorted(used - set(keyring.kids)):
        raise SetupError(
            f"connection pii_masking: earlier batches were masked with key id {', '.join(unknown)}, which is not in "
            f"this keyring's chain ({', '.join(keyring.kids)}): put the missing key back, oldest key first"
        )

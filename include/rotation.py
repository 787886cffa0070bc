"""The tasks of `rotate_masking_key`, by their names: each with the connections it needs, and the logic that does it."""

from collections.abc import Callable
from typing import TypeVar

import psycopg

from include.batches import rotation, shared
from include.connections import masking_keyring, warehouse_connection
from include.privacy.check import check_kids
from include.privacy.masking import Keyring
from include.warehouse.identity import check_identity
from include.warehouse.setup import prepare_warehouse

Result = TypeVar("Result")


def plan_rotation() -> bool:
    """Log what there is by key id; whether there is anything to do. Raises SetupError where a rotation would fail."""
    return with_keys(rotation.plan_rotation)


def switch_masking_key() -> dict[str, str]:
    """Let masks be made with the newest key from now on; return which key id was in use before, and which is."""
    return with_keys(rotation.switch_masking_key)


def rewrap_staging() -> int:
    """Bring the masks in staging under the key in use; return how many rows that were."""
    return with_keys(rotation.rewrap_staging)


def rewrap_user_logins() -> int:
    """Bring the masks in `user_logins` under the key in use; return how many rows that were."""
    return with_keys(rotation.rewrap_user_logins)


def reseal_rejected_bodies() -> dict[str, int]:
    """Seal rejected bodies under the key in use, and record that nothing of an older key is left; return the counts."""
    return with_keys(rotation.reseal_rejected_bodies)


def count_shared() -> dict[str, int]:
    """Count anew which devices and addresses several users have; return how many those are."""
    return with_keys(lambda warehouse, _: shared.count_shared(warehouse))


def with_keys(step: Callable[[psycopg.Connection, Keyring], Result]) -> Result:
    """Do a step, once all it needs is there."""
    keyring = masking_keyring()
    with warehouse_connection() as warehouse:
        prepare_warehouse(warehouse)
        check_identity(warehouse)
        check_kids(warehouse, keyring)
        return step(warehouse, keyring)

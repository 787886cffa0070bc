"""The tasks of `erase_users`, by their names: each with the connections it needs, and the logic that does it.

People are numbers here: no user id leaves the warehouse for Airflow's XCom, params or logs.
"""

from collections.abc import Mapping, Sequence

from include.batches import erasure
from include.rotation import with_keys


def plan_erasure() -> list[int]:
    """Log who waits to be forgotten, and how much there is of them; return the numbers of their erasures."""
    return with_keys(erasure.plan_erasure)


def raise_tombstones(erasure_ids: Sequence[int]) -> int:
    """Let nothing that these people sent until now be staged with user id or masks; return how many they are."""
    return with_keys(lambda warehouse, keyring: erasure.raise_tombstones(warehouse, keyring, erasure_ids))


def forget_bodies(erasure_ids: Sequence[int]) -> dict[str, int]:
    """Forget the rejected bodies that name these people; return how many, by erasure."""
    found = with_keys(lambda warehouse, keyring: erasure.forget_bodies(warehouse, keyring, erasure_ids))
    return {str(erasure_id): bodies for erasure_id, bodies in found.items()}


def erase_rows(erasure_ids: Sequence[int], bodies: Mapping[str, int]) -> dict[str, int]:
    """Clear user id and masks of these people in `user_logins` and staging, and record it; return the sums."""
    found = {int(erasure_id): number for erasure_id, number in bodies.items()}
    return with_keys(lambda warehouse, keyring: erasure.erase_rows(warehouse, keyring, erasure_ids, found))

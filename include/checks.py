"""The task of `check_user_logins` that counts, by its name: with the connection it needs, and the logic of it."""

from include.batches import checks
from include.connections import warehouse_connection
from include.warehouse.setup import migrate_warehouse


def count_faults(*, max_unknown_percent: int) -> dict[str, int]:
    """Count what is wrong with the logins of yesterday and today, keep and log it; by check, in how many rows."""
    with warehouse_connection() as warehouse:
        migrate_warehouse(warehouse)
        return checks.count_faults(warehouse, max_unknown_percent=max_unknown_percent)

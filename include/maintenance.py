"""The tasks of `maintain_user_logins`, by their names: each with the connection it needs, and the logic of it."""

import logging
from collections.abc import Mapping

from include.batches import rejected, shared, totals
from include.connections import warehouse_connection
from include.privacy import originals
from include.privacy.install import fault_of_privacy, let_analysts_read
from include.privacy.tombstones import end_tombstones
from include.privacy.trail import head
from include.warehouse import partitions, retention
from include.warehouse.adoption import narrow_key
from include.warehouse.default_partition import empty_default_partition
from include.warehouse.primary_key import add_primary_key
from include.warehouse.report import outcome_table, size_table
from include.warehouse.setup import migrate_warehouse

log = logging.getLogger(__name__)

# How far ahead of need the maintenance creates partitions: should it fail, there is a week, and a quarter, to fix it
# until a run has to create its own, and wait for locks while messages wait.
DAYS_AHEAD = 7
MONTHS_AHEAD = 3
# How long before the body of a rejected message is forgotten the maintenance warns of it.
DAYS_TO_REPLAY = 7


def make_partitions() -> dict[str, str]:
    """Create the partitions of the days and months to come, empty the default partition, and say what was done.

    A `user_logins` that an early version made or adopted gets its key as it is now. Raises SetupError for rows that a
    person must correct, TimeoutError or psycopg's LockNotAvailable for a table that somebody keeps locked; what can be
    done is done first.
    """
    with warehouse_connection() as warehouse:
        migrate_warehouse(warehouse)
        made = partitions.make_partitions(warehouse, months=MONTHS_AHEAD, days=DAYS_AHEAD)
        log.info("partitions created: %s", ", ".join(made) or "none")
        done = dict.fromkeys(made, "created")
        try:
            done |= empty_default_partition(warehouse, months=MONTHS_AHEAD)
        finally:  # rows that a person must correct keep nobody from having the key, unless they have no date
            done |= add_primary_key(warehouse)
        return done | narrow_key(warehouse)


def drop_staging_days(*, days: int) -> dict[str, str]:
    """Drop the days of staging that are older than `days` days and merged, and say what became of each old day."""
    with warehouse_connection() as warehouse:
        migrate_warehouse(warehouse)  # and no more: what is kept must not depend on the state of user_logins
        return retention.drop_staging_days(warehouse, days=days) or {"old days": "none"}


def drop_login_months(*, months: int | None) -> dict[str, str]:
    """Drop the months of `user_logins` that ended more than so many months ago, and say what became of each."""
    with warehouse_connection() as warehouse:
        migrate_warehouse(warehouse)
        return retention.drop_login_months(warehouse, months=months)


def count_shared() -> dict[str, str]:
    """Count anew which devices and addresses several users have, and say how many those are."""
    with warehouse_connection() as warehouse:
        migrate_warehouse(warehouse)
        return {things: f"{number:,} shared" for things, number in shared.count_shared(warehouse).items()}


def forget_rejected_bodies(*, days: int) -> dict[str, str]:
    """Forget the sealed bodies of messages rejected more than `days` ago, and warn of the next ones.

    Says how many were forgotten, and what the last days' take.
    """
    with warehouse_connection() as warehouse:
        migrate_warehouse(warehouse)  # and no more: what is kept must not depend on the state of user_logins
        forgotten = rejected.forget_rejected_bodies(warehouse, days=days)
        soon = rejected.bodies_to_forget(warehouse, days=max(0, days - DAYS_TO_REPLAY))
        sealed = rejected.sealed_by_day(warehouse)
    log.info("forgot the bodies of %d messages that were rejected more than %d days ago", forgotten, days)
    if soon:
        log.warning(
            "the bodies of %d rejected messages that were never replayed are forgotten within %d days: "
            "run replay_rejected before",
            soon,
            min(days, DAYS_TO_REPLAY),
        )
    return {"bodies": f"{forgotten:,} forgotten" + (f", {soon:,} within a week" if soon else "")} | sealed


def privacy_upkeep() -> dict[str, str]:
    """End old tombstones, originals and requests, let analysts read the view, and say where the trail ends."""
    with warehouse_connection() as warehouse:
        migrate_warehouse(warehouse)
        let_analysts_read(warehouse)
        ended = end_tombstones(warehouse)
        done = {"tombstones": f"{ended:,} ended"}
        if fault := fault_of_privacy(warehouse):
            anchor = f"none, because of schema privacy: {fault}"
        else:
            originals.make_days(warehouse, ahead=DAYS_AHEAD)
            days, requests = originals.expire(warehouse)
            done |= {"originals": f"{days:,} days expired", "requests": f"{requests:,} ended"}
            anchor = str(head(warehouse))
    log.info("anchor of the trail: %s", anchor)
    return done | {"anchor of the trail": anchor}


def add_up_batches() -> dict[str, str]:
    """Add old batches to the totals, so that a scrape of the metrics need not sum them, and say how many."""
    with warehouse_connection() as warehouse:
        migrate_warehouse(warehouse)
        added = totals.add_up_batches(warehouse)
    log.info("added %d batches to the totals", added)
    return {"totals": f"{added:,} batches added"}


def report(tasks: Mapping[str, Mapping[str, str] | None]) -> None:
    """Log what the tasks of the maintenance did, and how large the tables are now. None for a task that failed."""
    with warehouse_connection() as warehouse:
        log.info("%s\n\n%s", outcome_table(tasks), size_table(warehouse))

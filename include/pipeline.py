"""The steps of a run, each with the connections it needs."""

import logging
import resource
from collections import Counter
from collections.abc import Iterable, Mapping

from include.batches.drain import COUNTS, drain_queue
from include.batches.merge import merge_batches, rebuild
from include.batches.reconciliation import reconcile, run_batches, run_table
from include.batches.rejected import Selection, expire_bodies, replay
from include.batches.window import Window
from include.connections import masking_keyring, sqs_client, warehouse_connection
from include.events.message import Origin, Source
from include.privacy.check import check_kids
from include.sqs.calls import backlog
from include.sqs.check import check_queue
from include.sqs.plan import Share, plan_shares
from include.warehouse.check import migrate_warehouse, prepare_warehouse
from include.warehouse.default_partition import empty_default_partition
from include.warehouse.partitions import make_partitions
from include.warehouse.report import maintenance_table, size_table
from include.warehouse.retention import drop_staging_days

log = logging.getLogger(__name__)

# How far ahead of need the maintenance makes partitions: should it fail, there is a week, and a quarter, to mend it
# until a run has to make its own, and wait for locks while messages wait.
DAYS_AHEAD = 7
MONTHS_AHEAD = 3


def set_up(queue_url: str, *, source: Source, window: Window | None) -> str | None:
    """Migrate, make partitions, check everything the run needs, and return the URL of the queue to drain.

    A rebuild needs neither queue nor keys, and gets None. Raises SetupError, in one sentence, for
    what somebody has to mend, and ConnectionError for a server that does not answer.
    """
    with warehouse_connection() as warehouse:
        prepare_warehouse(warehouse)
        if window:
            return None
        check_kids(warehouse, masking_keyring())
    return check_queue(sqs_client(), queue_url, source)


def plan(queue_url: str | None, *, max_messages: int, max_workers: int) -> list[Share]:
    """The shares of the drain tasks; none for an empty queue, and none without a queue."""
    waiting = backlog(sqs_client(), queue_url) if queue_url else 0
    return plan_shares(waiting, max_messages=max_messages, max_workers=max_workers)


def drain(share: Share, queue_url: str, *, origin: Origin, seconds: float) -> dict[str, int]:
    """Drain one share into staging and return its counts."""
    _leave_no_core_file()
    keyring = masking_keyring()
    with warehouse_connection() as warehouse:
        prepare_warehouse(warehouse)  # a task that is cleared runs without check_setup, on another day or version
        check_kids(warehouse, keyring)
        return drain_queue(sqs_client(), queue_url, warehouse, keyring, origin=origin, seconds=seconds, **share)


def merge(run_id: str, source: str, *, window: Window | None, drained: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Merge all that is staged, rebuild the window, and return the counts of what this run did.

    `drained` are the counts of this run's tasks that staged batches, from `source`. The merged batches
    may be other runs' too. When all is done, raises RefusedError where the table refuses a batch, and
    Unbalanced where a merged batch or this run does not add up.
    """
    reported = Counter(dict.fromkeys(COUNTS, 0))
    for part in () if window else drained:  # of a reprocessed run Airflow still has what it drained the first time
        reported.update(part)
    with warehouse_connection() as warehouse:
        migrate_warehouse(warehouse)
        merged = merge_batches(warehouse)
        rebuilt = rebuild(warehouse, window) if window else 0
        batches = [] if window else run_batches(warehouse, run_id, source)
    if not window:
        log.info("this run:\n%s", run_table(batches))
    merged.check()
    reconcile(batches, merged, reported)
    return {
        **reported,
        "merged_batches": merged.batches,
        "merged": merged.staged,
        "inserted": merged.inserted,
        "already_there": merged.already_there,
        "rebuilt": rebuilt,
    }


def replay_rejected(selected: Selection, *, origin: Origin, dry_run: bool) -> dict[str, int]:
    """Stage the selected rejected messages that are valid now, or only say which would be; return the counts."""
    _leave_no_core_file()
    keyring = masking_keyring()
    with warehouse_connection() as warehouse:
        prepare_warehouse(warehouse)
        check_kids(warehouse, keyring)
        return replay(warehouse, keyring, selected, origin=origin, dry_run=dry_run)


def make_ahead() -> dict[str, str]:
    """Make the partitions of the days and months to come, empty the default partition, and say what was done.

    Raises SetupError for rows in the default partition that a person must mend, TimeoutError or
    psycopg's LockNotAvailable for a table that somebody keeps locked; what can be done is done first.
    """
    with warehouse_connection() as warehouse:
        migrate_warehouse(warehouse)
        made = make_partitions(warehouse, months=MONTHS_AHEAD, days=DAYS_AHEAD)
        log.info("made ahead: %s", ", ".join(made) or "nothing was missing")
        return dict.fromkeys(made, "made") | empty_default_partition(warehouse, months=MONTHS_AHEAD)


def drop_staged(*, days: int) -> dict[str, str]:
    """Drop the days of staging that are older than `days` days and merged, and say what became of each old day."""
    with warehouse_connection() as warehouse:
        migrate_warehouse(warehouse)  # and no more: what is kept must not depend on the state of user_logins
        return drop_staging_days(warehouse, days=days) or {"old days": "none"}


def report_maintenance(parts: Mapping[str, Mapping[str, str] | None]) -> None:
    """Log what the parts did, and how large the tables are now. None for a part that failed."""
    with warehouse_connection() as warehouse:
        log.info("%s\n\n%s", maintenance_table(parts), size_table(warehouse))


def forget_rejected(*, days: int) -> int:
    """Forget the sealed bodies of messages rejected more than `days` ago, and return how many."""
    with warehouse_connection() as warehouse:
        migrate_warehouse(warehouse)  # and no more: what is kept must not depend on the state of user_logins
        forgotten = expire_bodies(warehouse, days=days)
    log.info("forgot the bodies of %d messages that were rejected more than %d days ago", forgotten, days)
    return forgotten


def _leave_no_core_file() -> None:
    """Should this process crash, the kernel writes no core file, with raw values in it, to disk.

    A crash handler that the machine has in `kernel.core_pattern` decides for itself; systemd's obeys.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))

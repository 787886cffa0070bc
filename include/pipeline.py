"""The tasks of `user_logins` and `replay_rejected`, by their names: each with the connections and the logic of it."""

import ctypes
import logging
import resource
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from include import metrics
from include.batches import counts, drain, merge, reconciliation, rejected
from include.batches.check import check_staging
from include.batches.depth import record_depth
from include.batches.rebuild import rebuild
from include.batches.rejected import Selection
from include.batches.window import Window
from include.connections import masking_keyring, sqs_client, warehouse_connection
from include.events.message import Origin, QueueSource, Run, Source
from include.params import QUEUE_URL
from include.privacy.check import check_kids, warn_of_rotation
from include.privacy.originals import prepare_vault
from include.release import VERSION
from include.sqs import plan
from include.sqs.calls import Queue, backlog, left_on
from include.sqs.check import check_queue
from include.sqs.chunk import CHUNK, ChunkBounds
from include.sqs.dead_letters import only_ours, warn_of_dead_letters
from include.sqs.plan import Share
from include.warehouse.identity import check_identity, warn_of_identity
from include.warehouse.migrations import warn_of_newer_tables
from include.warehouse.setup import migrate_warehouse, prepare_warehouse

M_MMAP_THRESHOLD = -3  # its number in glibc's malloc.h

log = logging.getLogger(__name__)


def check_setup(
    run: Run, configured: str, *, named: str = QUEUE_URL, source: QueueSource, window: Window | None
) -> str | None:
    """Migrate, create partitions, check everything the run needs, and return the URL of the queue to drain.

    `configured` is the queue's URL, from the variable `named`. A rebuild needs neither queue nor keys, and gets None.
    That the run has begun is recorded first, and how deep its queue is once that is known.
    Raises SetupError, in one sentence, for what somebody has to fix, and ConnectionError for a server that does not
    answer.
    """
    log.info("user_logins %s", VERSION)
    with warehouse_connection() as warehouse:
        prepare_warehouse(warehouse)
        warn_of_newer_tables(warehouse)
        record_depth(warehouse, run, None if window else configured)
        if window:
            check_identity(warehouse)
            return None
        keyring = masking_keyring()
        check_kids(warehouse, keyring)
        prepare_vault(warehouse)
        check_staging(warehouse, keyring)
        warn_of_rotation(warehouse, keyring)
        warn_of_identity(warehouse)
        queue = check_queue(sqs_client(), configured, source, named)
        record_depth(warehouse, run, configured, queue.depth)
    return queue.url


def plan_drain(queue_url: str | None, *, max_messages: int, max_workers: int) -> list[Share]:
    """The shares of the drain tasks; none for an empty queue, and none without a queue."""
    waiting = backlog(Queue(sqs_client(), queue_url)) if queue_url else 0
    return plan.plan_drain(waiting, max_messages=max_messages, max_workers=max_workers)


def drain_and_mask(
    share: Share,
    queue_url: str,
    configured: str | None = None,
    *,
    origin: Origin,
    seconds: int,
    bounds: ChunkBounds = CHUNK,
) -> dict[str, int]:
    """Drain one share into staging and return its counts.

    `configured` is the URL in the variable; where `queue_url` is that queue's dead-letter queue, no other's are taken.
    """
    _leave_no_core_file()
    _give_memory_back()
    keyring = masking_keyring()
    with warehouse_connection() as warehouse:
        prepare_warehouse(warehouse)  # a task that is cleared runs without check_setup, on another day or version
        check_kids(warehouse, keyring)
        prepare_vault(warehouse)
        check_staging(warehouse, keyring)
        queue = Queue(sqs_client(), queue_url)
        if configured and origin.source == "dead_letter_queue":
            queue = only_ours(queue, Queue(queue.client, configured), seconds=seconds)
        done = drain.drain_and_mask(queue, warehouse, keyring, origin=origin, seconds=seconds, bounds=bounds, **share)
    metrics.count(done, dag_id=origin.run.dag_id)
    return done


def merge_user_logins(run: Run, *, window: Window | None = None) -> dict[str, int]:
    """Merge all that is staged, of whichever run, rebuild the window, and return the counts of what this run did.

    They are those of all its tries; rows that `user_logins` refuses are among them, and fail `check_run`.
    """
    run = replace(run, rebuilds=window is not None)
    with warehouse_connection() as warehouse:
        migrate_warehouse(warehouse)
        merged = merge.merge_user_logins(warehouse, str(run))
        rebuilt = 0
        if window:
            check_identity(warehouse)
            rebuilt = rebuild(warehouse, window, run=run)
    done = {
        "merged_batches": merged.batches,
        "inserted": merged.inserted,
        "already_there": merged.already_there,
        "refused": merged.refused,
        "rebuilt": rebuilt,
    }
    metrics.count(done, dag_id=run.dag_id)
    return done


def check_run(
    run: Run,
    source: Source,
    queue_url: str | None = None,
    drained: Iterable[Mapping[str, int]] = (),
    *,
    window: Window | None = None,
    max_rejected_percent: int = 100,
) -> None:
    """Show this run's counts, and raise FailedCheck where something is wrong with it; writes nothing.

    Where messages were taken from the queue, warns of its dead letters. `drained` are the counts of its tasks that
    staged batches, from `source`; of a run that is reprocessed as a backfill Airflow still has those of its first
    time, which are none of its own.
    """
    run = replace(run, rebuilds=window is not None)
    reported = Counter(dict.fromkeys(counts.DRAINED, 0))
    for part in [] if window else drained:
        reported.update(part)
    left = None
    if queue_url and reported["received"]:
        queue = Queue(sqs_client(), queue_url)
        left = left_on(queue)
        if source == "queue":
            warn_of_dead_letters(queue)
    with warehouse_connection() as warehouse:
        reconciliation.check_run(warehouse, run, source, reported, max_rejected_percent=max_rejected_percent, left=left)


def replay_messages(selected: Selection, *, origin: Origin, dry_run: bool) -> dict[str, int]:
    """Stage the selected rejected messages that are valid now, or only say which would be; return the counts."""
    _leave_no_core_file()
    keyring = masking_keyring()
    with warehouse_connection() as warehouse:
        prepare_warehouse(warehouse)
        check_kids(warehouse, keyring)
        prepare_vault(warehouse)
        done = rejected.replay_messages(warehouse, keyring, selected, origin=origin, dry_run=dry_run)
    metrics.count(done, dag_id=origin.run.dag_id)
    return done


def _give_memory_back() -> None:
    """Let memory of large messages go back to the system when they are done.

    glibc keeps what its threads have freed, up to 64 MiB each, unless pieces of a fixed size and more are asked of the
    system, which has them back at once. Other C libraries have no such setting.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**20)


def _leave_no_core_file() -> None:
    """Should this process crash, the kernel writes no core file, with raw values in it, to disk.

    A crash handler that the machine has in `kernel.core_pattern` decides for itself; systemd's obeys.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))

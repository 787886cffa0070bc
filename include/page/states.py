"""The states that the pipeline can be in: when each is, what is said of it, and what to do. The table is STATES."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from include.events.message import ENOUGH_MESSAGES
from include.page.situation import BEHIND, Situation
from include.page.wording import ago, duration, moment

Tone = Literal["good", "note", "warning", "bad"]

SILENT = timedelta(minutes=15)  # three intervals of the schedule
STUCK = timedelta(minutes=15)
STALLED = timedelta(minutes=15)
MANY_REJECTED = 0.5
DRAINS = "user_logins"


@dataclass(frozen=True, slots=True)
class State:
    """A state that the pipeline can be in: when it is, what is said of it, what to do next, and with which DAG."""

    name: str
    tone: Tone
    holds: Callable[[Situation], bool]
    says: Callable[[Situation], str]
    next_step: str
    dag_id: Callable[[Situation], str | None] = lambda _: DRAINS
    stops_flow: bool = False  # where it holds, logins do not arrive as they should


def _for_longer(since: datetime | None, than: timedelta, now: Situation) -> bool:
    return since is not None and ago(since, now.now) > than


def _silent_since(now: Situation) -> datetime | None:
    """Without a run that looked at a queue, what else was heard of the pipeline counts."""
    return now.silent_since or now.last_sign_at


def _is_rejecting(now: Situation) -> bool:
    many = now.rejected_in_hour > MANY_REJECTED * now.received_in_hour
    return many and now.received_in_hour >= ENOUGH_MESSAGES


def _since(when: date | None, now: Situation) -> str:
    return moment(when, now.now) if isinstance(when, datetime) else str(when)


def _of(dag_id: str | None) -> str:
    """Which DAG, where it is not the one that people expect."""
    return f" by {dag_id}" if dag_id and dag_id != DRAINS else ""


def _number(count: int | None, thing: str) -> str:
    """How many things: `1 message`, `2 messages`."""
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


STATES = (
    State(
        "nothing_yet",
        "note",
        lambda now: now.last_sign_at is None,
        lambda _: "Nothing has run yet",
        "Trigger user_logins: a minute later there is something to see here",
        stops_flow=True,
    ),
    State(
        "unbalanced",
        "bad",
        lambda now: now.unbalanced_batch is not None,
        lambda now: f"Batch {now.unbalanced_batch} does not add up",
        "Look at its counts in login_etl.batches: rows were deleted from staging, or counts changed by hand",
    ),
    State(
        "refusing",
        "bad",
        lambda now: now.refusal is not None,
        lambda now: (
            f"Stuck since {_since(now.refusing_since, now)}: the merge refuses batch {now.refusing_batch}, "
            f"{now.refusal}"
        ),
        "Fix what user_logins refuses: the next run loads the batch",
        stops_flow=True,
    ),
    State(
        "stuck",
        "bad",
        lambda now: _for_longer(now.stuck_since, STUCK, now),
        lambda now: f"Stuck since {_since(now.stuck_since, now)}: batch {now.stuck_batch} is staged and not merged",
        "Read the end of the log of merge_user_logins, or of check_setup where no run gets that far",
        stops_flow=True,
    ),
    State(
        "silent",
        "bad",
        lambda now: _for_longer(_silent_since(now), SILENT, now),
        lambda now: (
            f"Nothing has run{_of(now.silent_dag)} since {_since(_silent_since(now), now)}, "
            f"for {duration(ago(_silent_since(now) or now.now, now.now).total_seconds())}"
        ),
        "See whether the DAG is paused, whether the scheduler runs, and whether a run hangs or fails at once",
        dag_id=lambda now: now.silent_dag,
        stops_flow=True,
    ),
    State(
        "blind",
        "bad",
        lambda now: now.blind_since is not None,
        lambda now: f"The last run{_of(now.blind_dag)}, at {_since(now.blind_since, now)}, did not see its queue",
        "Read the end of the log of its check_setup",
        dag_id=lambda now: now.blind_dag,
        stops_flow=True,
    ),
    State(
        "stalled",
        "bad",
        lambda now: _for_longer(now.stalled_since, STALLED, now),
        lambda now: (
            f"No message has been taken{_of(now.stalled_dag)} since {_since(now.stalled_since, now)}, while runs see "
            f"{_number(now.stalled_messages, 'message')} on the queue"
        ),
        "Read the end of the log of plan_drain and drain_and_mask; of a FIFO queue, see who holds its message groups",
        dag_id=lambda now: now.stalled_dag,
        stops_flow=True,
    ),
    State(
        "rejecting",
        "bad",
        _is_rejecting,
        lambda now: (
            f"Rejecting {100 * now.rejected_in_hour / now.received_in_hour:.0f} % of the last hour's messages, "
            f"most for {now.rejected_reason or 'reasons of before'}"
        ),
        "Ask who sends them what has changed; after a fix replay_rejected loads them",
    ),
    State(
        "check_failed",
        "bad",
        lambda now: now.failed_checks is not None,
        lambda now: f"A check of the data has failed, at {_since(now.checked_at, now)}: {now.failed_checks}",
        "Follow the section “A check failed” of docs/runbook.md; loading goes on",
        dag_id=lambda _: "check_user_logins",
    ),
    State(
        "dead_letters",
        "warning",
        lambda now: bool(now.dead_letters),
        lambda now: f"The dead-letter queue has {_number(now.dead_letters, 'message')}",
        "Fix what kept them from being landed, then trigger user_logins with source: dead_letter_queue",
    ),
    State(
        "refused",
        "warning",
        lambda now: now.refused > 0,
        lambda now: (
            f"user_logins refuses {_number(now.refused, 'row')}, staged since {_since(now.refused_since, now)}, "
            f"most for {now.refused_reason}"
        ),
        "Fix the table, or the rows in staging: the next run loads them",
    ),
    State(
        "behind",
        "warning",
        lambda now: now.behind_by is not None,
        lambda now: (
            f"Behind by {duration(now.behind_by or 0)} since {_since(now.behind_since, now)}, "
            f"with {_number(now.behind_messages, 'message')} left on the queue"
        ),
        "Raise max_messages where runs take all they may, then max_workers",
        dag_id=lambda now: now.behind_dag,
        stops_flow=True,
    ),
    State(
        "not_deleted",
        "warning",
        lambda now: now.not_deleted_in_hour > 0,
        lambda now: (
            f"{_number(now.not_deleted_in_hour, 'message')} of the last hour could not be deleted in time, and will "
            "come again"
        ),
        "Look for throttling, and whether sqs:DeleteMessage is allowed; nothing is stored twice",
    ),
    State(
        "rotating",
        "note",
        lambda now: not now.is_complete,
        lambda now: (
            f"A rotation of the masking key began at {_since(now.kid_since, now)}: until it is over, a device has "
            "two masks"
        ),
        "Wait for rotate_masking_key, or clear its failed task",
        dag_id=lambda _: "rotate_masking_key",
    ),
    State(
        "idle",
        "good",
        lambda now: now.waiting == 0 and (now.lag is None or not now.received_in_hour),
        lambda now: (
            "Keeping up: the queue is empty"
            + (f", and nothing has come since {_since(now.last_staged_at, now)}" if now.last_staged_at else "")
        ),
        "Nothing to do",
    ),
    State(
        "caught_up",
        "good",
        lambda now: now.lag is not None and now.lag > BEHIND.total_seconds(),
        lambda now: f"Caught up: the slowest of the last messages took {duration(now.lag or 0)} from sent to merged",
        "Nothing to do: no message is left on the queue",
    ),
    State(
        "keeping_up",
        "good",
        lambda _: True,
        lambda now: "Keeping up" + ("" if now.lag is None else f", {duration(now.lag)} behind"),
        "Nothing to do: so long the slowest of the last messages took from sent to merged",
    ),
)

"""The verdict: is it keeping up, is it losing anything? Each state and its words are in the table STATES."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from include.page.situation import BEHIND, Situation
from include.page.wording import ago, duration, moment

Tone = Literal["good", "note", "warning", "bad"]

SILENT = timedelta(minutes=15)  # three intervals of the schedule
STUCK = timedelta(minutes=15)
ENOUGH_MESSAGES = 20  # as in a run's own check: of fewer, a percentage says nothing
MANY_REJECTED = 0.5


@dataclass(frozen=True, slots=True)
class State:
    """A state that the pipeline can be in: when it is, what is said of it, what to do next, and with which DAG."""

    name: str
    tone: Tone
    holds: Callable[[Situation], bool]
    says: Callable[[Situation], str]
    next_step: str
    dag_id: str = "user_logins"
    stops_flow: bool = False  # where it holds, logins do not arrive as they should


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state as it is said."""

    name: str
    tone: Tone
    sentence: str
    next_step: str
    dag_id: str


def verdicts(situation: Situation) -> list[Verdict]:
    """All that is to be said, the most urgent first; never nothing."""
    return [
        Verdict(state.name, state.tone, state.says(situation), state.next_step, state.dag_id)
        for state in _holding(situation)
    ]


def _holding(situation: Situation) -> list[State]:
    """All that hold. That it keeps up is said in one way, and also beside what else is wrong: but for a standstill."""
    found = [state for state in STATES if state.holds(situation)]
    wrong = [state for state in found if state.tone != "good"]
    well = [state for state in found if state.tone == "good"]
    return wrong if any(state.stops_flow for state in wrong) else [*wrong, well[0]]


def _is_silent(now: Situation) -> bool:
    return now.last_sign_at is not None and ago(now.last_sign_at, now.now) > SILENT


def _is_stuck(now: Situation) -> bool:
    return now.stuck_since is not None and ago(now.stuck_since, now.now) > STUCK


def _is_rejecting(now: Situation) -> bool:
    return now.received_in_hour >= ENOUGH_MESSAGES and now.rejected_in_hour > MANY_REJECTED * now.received_in_hour


def _is_behind(now: Situation) -> bool:
    return bool(now.left_waiting) and now.lag is not None and now.lag > BEHIND.total_seconds()


def _since(when: date | None, now: Situation) -> str:
    return moment(when, now.now) if isinstance(when, datetime) else str(when)


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
            f"Stuck since {_since(now.stuck_since, now)}: the merge refuses batch {now.stuck_batch}, {now.refusal}"
        ),
        "Fix what user_logins refuses: the next run loads the batch",
        stops_flow=True,
    ),
    State(
        "stuck",
        "bad",
        lambda now: now.refusal is None and _is_stuck(now),
        lambda now: f"Stuck since {_since(now.stuck_since, now)}: batch {now.stuck_batch} is staged and not merged",
        "Read the end of the log of merge_user_logins, or of check_setup where no run gets that far",
        stops_flow=True,
    ),
    State(
        "silent",
        "bad",
        _is_silent,
        lambda now: (
            f"Nothing has run since {_since(now.last_sign_at, now)}, "
            f"for {duration(ago(now.last_sign_at or now.now, now.now).total_seconds())}"
        ),
        "See whether the DAG is paused, whether the scheduler runs, and whether a run hangs or fails at once",
        stops_flow=True,
    ),
    State(
        "blind",
        "bad",
        lambda now: now.blind_since is not None,
        lambda now: f"The last run, at {_since(now.blind_since, now)}, did not see its queue",
        "Read the end of the log of its check_setup",
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
        lambda now: f"A check of the data fails since {_since(now.checked_at, now)} or earlier: {now.failed_checks}",
        "Follow the section “A check failed” of docs/runbook.md; loading goes on",
        dag_id="check_user_logins",
    ),
    State(
        "dead_letters",
        "warning",
        lambda now: bool(now.dead_letters),
        lambda now: f"{now.dead_letters:,} messages are in the dead-letter queue",
        "Fix what kept them from being landed, then trigger user_logins with source: dead_letter_queue",
    ),
    State(
        "refused",
        "warning",
        lambda now: now.refused > 0,
        lambda now: (
            f"{now.refused:,} rows wait since {_since(now.refused_since, now)}, because user_logins refuses them, "
            f"most for {now.refused_reason}"
        ),
        "Fix the table, or the rows in staging: the next run loads them",
    ),
    State(
        "behind",
        "warning",
        _is_behind,
        lambda now: (
            f"Behind by {duration(now.lag or 0)} since {_since(now.behind_since, now)}, "
            f"with {now.left_waiting:,} messages left on the queue"
        ),
        "Raise max_messages where runs take all they may, then max_workers",
        stops_flow=True,
    ),
    State(
        "not_deleted",
        "warning",
        lambda now: now.not_deleted_in_hour > 0,
        lambda now: f"{now.not_deleted_in_hour:,} messages of the last hour could not be deleted, and come again",
        "Look for throttling, and whether sqs:DeleteMessage is allowed; nothing is stored twice",
    ),
    State(
        "rotating",
        "note",
        lambda now: not now.is_complete,
        lambda now: (
            f"The masking key is being changed since {_since(now.kid_since, now)}: until that is over, a device has "
            "two masks"
        ),
        "Wait for rotate_masking_key, or clear its failed task",
        dag_id="rotate_masking_key",
    ),
    State(
        "idle",
        "good",
        lambda now: not now.waiting and (now.lag is None or not now.received_in_hour),
        lambda now: (
            "Keeping up: the queue is empty"
            + (f", and nothing has come since {_since(now.last_staged_at, now)}" if now.last_staged_at else "")
        ),
        "Nothing to do",
    ),
    State(
        "keeping_up",
        "good",
        lambda _: True,
        lambda now: "Keeping up" + ("" if now.lag is None else f", {duration(now.lag)} behind"),
        "Nothing to do: so long the slowest of the last messages took from sent to merged",
    ),
)

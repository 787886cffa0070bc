"""How the pipeline is: what the verdict, the tiles and the health are made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import psycopg
from psycopg.rows import class_row

from include.warehouse.statements import statement

BEHIND = timedelta(minutes=15)  # three intervals of the schedule: a run of five minutes and its wait are none


@dataclass(frozen=True, slots=True)
class Situation:
    """The pipeline as the warehouse knows it, over all its queues; where one DAG is worst, its id.

    Counts of messages on queues are those that the last runs saw; None is what SQS did not tell them. Times are None
    where there is no such event. `lag` is in seconds, from sent to merged, the longest of what was merged last.
    """

    now: datetime
    database: str = ""
    queues: str | None = None
    first_run_at: datetime | None = None
    last_run_at: datetime | None = None
    last_staged_at: datetime | None = None
    last_merged_at: datetime | None = None
    silent_dag: str | None = None
    silent_since: datetime | None = None  # the last sign of the DAG that was heard of least lately
    blind_dag: str | None = None
    blind_since: datetime | None = None  # its last run did not see its queue
    stalled_dag: str | None = None
    stalled_since: datetime | None = None  # messages wait, and it has taken none since
    stalled_messages: int | None = None
    waiting: int | None = None
    in_flight: int | None = None
    dead_letters: int | None = None
    left_waiting: int | None = None  # what the last run saw, and did not take
    inserted_today: int = 0
    rejected_today: int = 0
    received_today: int = 0
    received_in_hour: int = 0
    rejected_in_hour: int = 0
    rejected_reason: str | None = None
    not_deleted_in_hour: int = 0
    unbalanced_batch: int | None = None
    lag: float | None = None
    behind_dag: str | None = None
    behind_by: float | None = None  # seconds
    behind_since: datetime | None = None
    behind_messages: int | None = None
    unmerged: int = 0
    oldest_unmerged: datetime | None = None  # sent
    stuck_batch: int | None = None
    stuck_since: datetime | None = None
    refusing_batch: int | None = None
    refusing_since: datetime | None = None
    refusal: str | None = None
    refused: int = 0
    refused_reason: str | None = None
    refused_since: date | None = None
    failed_checks: str | None = None  # of the last day: in how many rows each does not hold
    checked_at: datetime | None = None
    kid: str | None = None
    kid_since: datetime | None = None
    is_complete: bool = True

    @property
    def last_sign_at(self) -> datetime | None:
        """When something was last heard of the pipeline: a run that began, a batch staged or merged."""
        signs = [self.last_run_at, self.last_staged_at, self.last_merged_at]
        return max(filter(None, signs), default=None)


def read_situation(connection: psycopg.Connection) -> Situation:
    """Ask for it, in the transaction that is open."""
    with connection.cursor(row_factory=class_row(Situation)) as cursor:
        [found] = cursor.execute(statement("page/situation"), {"behind": BEHIND.total_seconds()}).fetchall()
    return found

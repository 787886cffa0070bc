"""A made-up history of runs, for pictures and benchmarks of the page: real ones would take as long as they cover."""

from __future__ import annotations

from pathlib import Path

import psycopg

HISTORY = Path(__file__).with_name("history.sql")


def write_history(
    warehouse: psycopg.Connection, *, days: int, batches: int, logins: int, logins_a_reject: float, queue: str
) -> None:
    """Write what runs of `days` days would have left: so many batches, each of `logins` logins on average.

    For each `logins_a_reject` logins there is a rejected message. Staging, whose rows are copies, stays empty. The
    warehouse must have its tables.
    """
    bound = {
        "days": days,
        "batches": batches,
        "logins": logins,
        "logins_a_reject": logins_a_reject,
        "queue": queue,
    }
    with warehouse.transaction(), psycopg.ClientCursor(warehouse) as cursor:  # which takes several statements at once
        cursor.execute(HISTORY.read_bytes(), bound)

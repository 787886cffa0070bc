"""Where things are in Airflow's UI, below its base path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

OLDEST_DAG = "user_logins"  # of batches from before the DAG was written down
DRAIN = "drain_and_mask"
REPLAY = "replay_messages"


def dag(dag_id: str) -> str:
    """A DAG's page."""
    return f"/dags/{quote(dag_id, safe='')}"


def log_of_task(dag_id: str | None, run_id: str, task_id: str, map_index: int = -1) -> str:
    """The log of a task's last try. Run ids hold + and :, which have to be quoted.

    >>> log_of_task("user_logins", "scheduled__2026-01-31T10:00:00+00:00", "drain_and_mask", 2)
    '/dags/user_logins/runs/scheduled__2026-01-31T10%3A00%3A00%2B00%3A00/tasks/drain_and_mask/mapped/2'
    """
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    return f"{dag(dag_id or OLDEST_DAG)}/runs/{quote(run_id, safe='')}/tasks/{task_id}{mapped}"


def log_of_batch(batch: Mapping[str, Any] | None) -> str | None:
    """The log of the task that staged a batch, a row of `login_etl.batches`."""
    if batch is None:
        return None
    task_id = REPLAY if batch["map_index"] < 0 else DRAIN
    return log_of_task(batch["dag_id"], batch["run_id"], task_id, batch["map_index"])

"""The counts that tasks return, told to Airflow's metrics too: StatsD or OpenTelemetry, whichever is on, or nobody.

Less than `/metrics` has (docs/monitoring.md): what a task that died has done is in no count that it returned.
"""

import logging
from collections.abc import Mapping

from airflow.sdk.observability import stats

PREFIX = "user_logins"

log = logging.getLogger(__name__)


def count(counts: Mapping[str, int], *, dag_id: str) -> None:
    """Count each of them up by its number, as `user_logins.<name>` with the tag `dag`; no error leaves."""
    try:
        for name, number in counts.items():
            if number:
                stats.incr(f"{PREFIX}.{name}", number, tags={"dag": dag_id})
    except Exception as error:  # noqa: BLE001 - of whatever backend: what a task has done is done
        log.warning("the task's counts were not told to Airflow's metrics: %s", type(error).__name__)

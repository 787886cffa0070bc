"""The default partition of `user_logins`: watched, and emptied into months."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime

import psycopg

from include.failures import SetupError
from include.warehouse.partitions import has_months, logins_month, make_partition, needed
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)

YEARS_BACK = 10  # each month costs every merge and query a little; a date beyond is rather a mistake than a login


def empty_default_partition(
    connection: psycopg.Connection, today: date | None = None, *, months: int
) -> dict[str, str]:
    """Give the rows in the default partition the months they belong to, one transaction a month; say how many moved.

    Months are created from ten years before today (UTC) to `months` after it. TimeoutError, at once, where
    somebody keeps the table locked. SetupError, once all that can be moved is moved, where a person must
    correct the rows' dates, or a table has a month's name.
    """
    if not has_months(connection):
        return {"default partition": "none: public.user_logins is not partitioned by this project"}
    this_month = logins_month(today or datetime.now(UTC).date()).start
    limits = {
        "oldest": this_month.replace(year=this_month.year - YEARS_BACK),
        "stop": needed(this_month, months=months)[-1].stop,
    }
    done: dict[str, str] = {}
    locked = ""
    faults: list[str] = []
    with transaction(connection):
        months_there = connection.execute(statement("warehouse/default_months"), limits).fetchall()
    for month, rows, oldest, newest in months_there:
        if month is None:
            dates = f"dated {oldest} to {newest}" if oldest else "without a date"
            faults.append(f"{rows} rows {dates}, for which no month is created: correct create_date or delete them")
            continue
        partition = logins_month(month)
        try:
            moved = make_partition(connection, partition)
        except psycopg.errors.LockNotAvailable:
            locked = f"rows from {month:%Y-%m} on"
            break  # it is one table: whoever else reads it must not wait behind us again for each month
        if moved is None:
            faults.append(f"{rows} rows of {month:%Y-%m}, because a table {partition.name} exists: attach or rename it")
        else:
            log.info("moved %d rows from the default partition to %s", moved, partition.name)
            done[partition.name] = f"created, {moved:,} rows moved from the default partition"
    for stuck in filter(None, (locked, *faults)):
        log.warning("still in public.user_logins_default: %s", stuck)
    if locked:
        raise TimeoutError(f"public.user_logins is locked by somebody: {locked} are still in the default partition")
    if faults:
        raise SetupError(f"connection warehouse: still in public.user_logins_default: {'; '.join(faults)}")
    return done or {"default partition": "empty"}

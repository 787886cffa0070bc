"""Is what was loaded lately as it should be? Each check counts the rows that are not."""

import logging

import psycopg
from tabulate import tabulate

from include.events.message import ENOUGH_MESSAGES
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)


def count_faults(connection: psycopg.Connection, *, max_unknown_percent: int) -> dict[str, int]:
    """Count the rows of yesterday and today, in UTC, that fail a check; by check, of those that did not pass.

    The results take the place of earlier ones in `login_etl.data_checks`, whatever they are, and are logged. They
    have numbers and our own words only. A check of a percentage passes where there are few rows.
    """
    bounds = {"max_unknown_percent": max_unknown_percent, "enough": ENOUGH_MESSAGES}
    with transaction(connection):
        results = connection.execute(statement("checks/count_faults"), bounds).fetchall()
    rows = [(name, "passed" if passed else "failed", *counted) for name, passed, *counted in results]
    table = tabulate(rows, ["check", "", "found", "of", "found are"], intfmt=",")
    failed = {name: found for name, passed, found, *_ in results if not passed}
    log.log(logging.WARNING if failed else logging.INFO, "checked yesterday and today:\n%s", table)
    return failed

"""The whole page as data: the verdict, and panels of which each stands for itself when the warehouse is slow."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import psycopg

from include.failures import SetupError
from include.page import panels
from include.page.ranges import Range, range_of
from include.page.reading import MILLISECONDS, reading
from include.page.situation import Situation, read_situation
from include.page.verdicts import Verdict, verdicts
from include.privacy.originals import find_vault
from include.warehouse.errors import text_of
from include.warehouse.migrations import Migration, pending, read_migrations

SECONDS = 4  # for all of it, where each query is slow


class NotThereYet(Exception):
    """The tables of this version are not in the warehouse; the message says what brings them."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What a part of the page shows, or why it cannot."""

    data: Any = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """The page."""

    situation: Situation
    verdicts: list[Verdict]
    span: Range
    panels: dict[str, Panel]


def look(connection: psycopg.Connection, range_name: str) -> View:
    """Ask the warehouse all that the page shows; NotThereYet, or psycopg's errors, where the verdict cannot be asked.

    The connection must be in autocommit mode.
    """
    check_tables(connection)
    until = monotonic() + SECONDS
    with reading(connection):
        situation = read_situation(connection)
    span = range_of(range_name, situation.now, situation.first_run_at)
    parts: dict[str, Callable[[], Any]] = {
        "flow": lambda: panels.flow_charts(connection, span),
        "depth": lambda: panels.depth_chart(connection, span),
        "rejects": lambda: panels.rejects(connection, span),
        "runs": lambda: panels.last_runs(connection),
        "shared": lambda: panels.shared(connection),
        "checks": lambda: panels.checks(connection),
        "tables": lambda: panels.tables(connection),
        "vault": lambda: find_vault(connection),
    }
    shown = {name: _panel(connection, part, until) for name, part in parts.items()}
    return View(situation, verdicts(situation), span, shown)


def check_tables(connection: psycopg.Connection) -> None:
    """NotThereYet where no run has made the tables, or an older version has; SetupError for changed migrations."""
    with reading(connection):
        missing = pending(connection, _migrations())
    if len(missing) == len(_migrations()):
        raise NotThereYet("No run has made the tables yet: trigger user_logins, and come back in a minute")
    if missing:
        raise NotThereYet(
            f"The warehouse lacks {len(missing)} migrations of this version: the next run of user_logins applies them"
        )


@functools.cache
def _migrations() -> list[Migration]:
    return read_migrations()


def _panel(connection: psycopg.Connection, part: Callable[[], Any], until: float) -> Panel:
    left = int(1_000 * (until - monotonic()))
    if left <= 0:
        return Panel(fault="not asked, because the warehouse is slow")
    try:
        with reading(connection, milliseconds=min(left, MILLISECONDS)):
            return Panel(part())
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
        return Panel(fault="the warehouse did not answer in time")
    except psycopg.errors.ProgrammingError as error:  # a table that somebody dropped, or a right that is missing
        return Panel(fault=text_of(error))
    except SetupError as error:
        return Panel(fault=str(error))

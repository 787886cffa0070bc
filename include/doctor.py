"""All that `check_setup` checks, without a run, and without changing anything: `python -m include.doctor`.

It shows what is well and what is wrong, then what is not wrong yet, but will be. Run it where tasks run, with their
environment. Its arguments are the variables with the queues' URLs, where there are others than `user_logins_queue_url`.
The exit code is 1 where a run would fail.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging.handlers import BufferingHandler

import psycopg
import structlog
from airflow.configuration import conf
from airflow.sdk import Variable
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Column, Table

from include.alerts import channel
from include.batches.check import check_staging
from include.connections import (
    ALERTS,
    AWS,
    MASKING,
    WAREHOUSE,
    alerts_connection,
    masking_keyring,
    sqs_client,
    warehouse_connection,
)
from include.failures import SetupError
from include.params import KEEP_MONTHS, KEEP_REJECTED_DAYS, KEEP_STAGING_DAYS, QUEUE_URL, months_to_keep, retention
from include.privacy.check import check_kids, warn_of_rotation
from include.privacy.fence import masking
from include.privacy.install import fault_of_privacy
from include.privacy.masking import Keyring
from include.privacy.originals import find_vault
from include.privacy.trail import head
from include.release import VERSION
from include.sqs.check import check_queue
from include.sqs.errors import error_name
from include.warehouse.errors import text_of
from include.warehouse.identity import warn_of_identity
from include.warehouse.migrations import warn_of_newer_tables
from include.warehouse.partitions import missing_partitions, staging_day
from include.warehouse.setup import check_warehouse


@dataclass(frozen=True, slots=True)
class Checked:
    """A thing that was checked: what was found, or what is wrong with it."""

    what: str
    finding: str
    is_well: bool


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was checked, and what is not wrong yet."""

    checked: list[Checked] = field(default_factory=list)
    not_yet: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """How many things are wrong."""
        return sum(not each.is_well for each in self.checked)

    @contextmanager
    def check(self, what: str) -> Iterator[list[str]]:
        """Check one thing in the block, which appends what it finds. An error ends it, and is what is wrong."""
        found: list[str] = []
        try:
            yield found
        except (SetupError, ConnectionError, TimeoutError) as error:
            fault = str(error)
        except psycopg.Error as error:
            fault = f"connection {WAREHOUSE}: {text_of(error)}"
        except (ClientError, BotoCoreError) as error:
            fault = f"connection {AWS}: AWS answered {error_name(error)}"
        else:
            self.checked.append(Checked(what, "; ".join(found), is_well=True))
            return
        self.checked.append(Checked(what, fault, is_well=False))


def examine(queue_variables: Sequence[str] = (QUEUE_URL,)) -> Examination:
    """Check everything that a run needs, and go on where something is wrong with what does not need that."""
    done = Examination()
    with _warnings() as warnings, ExitStack() as stack:
        keyring = _check_keys(done)
        warehouse = None
        with done.check(f"connection {WAREHOUSE}") as found:
            warehouse = stack.enter_context(warehouse_connection())
            info = warehouse.info
            found.append(f"Postgres {info.server_version // 10_000}, database {info.dbname}, as {info.user}")
        if warehouse:
            _check_tables(done, warehouse, keyring)
        _check_queues(done, queue_variables)
        _check_alerts(done)
        with done.check("retention") as found:
            for what, variable in (("staging", KEEP_STAGING_DAYS), ("rejected bodies", KEEP_REJECTED_DAYS)):
                found.append(f"{what} {retention(variable, str(Variable.get(variable, default='30')))} days")
            months = months_to_keep(str(Variable.get(KEEP_MONTHS, default="")))
            found.append(f"logins {months} months" if months else "logins for ever")
    if keyring and not any(each.what == "masking" and not each.is_well for each in done.checked):
        done.not_yet.append(
            f"no key can be made again, and without {', '.join(keyring.kids)} no later mask matches an earlier one: "
            "keep a copy outside of Airflow"
        )
    done.not_yet.extend(record.getMessage() for record in warnings.buffer)
    return done


def _check_keys(done: Examination) -> Keyring | None:
    keyring = None
    with done.check(f"connection {MASKING}") as found:
        keyring = masking_keyring()
        found.append(f"keys {', '.join(keyring.kids)}")
        if not conf.get("core", "fernet_key", fallback=""):
            done.not_yet.append(
                "Airflow has no core.fernet_key, so that a masking key in a connection is stored there in the clear"
            )
    return keyring


def _check_tables(done: Examination, warehouse: psycopg.Connection, keyring: Keyring | None) -> None:
    migrations = None
    with done.check("tables and rights") as found:
        migrations = check_warehouse(warehouse)
        found.append(f"the next run applies {len(migrations)} migrations" if migrations else "as a run needs them")
        warn_of_newer_tables(warehouse)
    if migrations or migrations is None or keyring is None:
        return  # what is there is not what a run would use
    with done.check("masking") as found:
        check_kids(warehouse, keyring)
        made = masking(warehouse)
        found.append(f"masks are made with key {made.kid if made else keyring.kid}")
        warn_of_rotation(warehouse, keyring)
    with done.check("staging") as found:
        if missing_partitions(warehouse, [staging_day(datetime.now(UTC).date())]):
            found.append("the next run makes the partition of today")
        else:
            check_staging(warehouse, keyring)
            found.append("takes a made-up login and a made-up rejected message")
        warn_of_identity(warehouse)
    with done.check("schema privacy") as found:
        vault = find_vault(warehouse)
        if fault := fault_of_privacy(warehouse):
            found.append(f"not in use, so no erasure and no trail: {fault}")
        else:
            kept = "originals are kept" if vault.is_on else "no originals are kept"
            found.append(f"{kept}; the trail ends at {head(warehouse)}")


def _check_queues(done: Examination, variables: Sequence[str]) -> None:
    client = None
    with done.check(f"connection {AWS}") as found:
        client = sqs_client()
        found.append(client.meta.endpoint_url)
    for variable in variables if client else ():
        with done.check(f"variable {variable}") as found:
            found.append(check_queue(client, str(Variable.get(variable, default="")), "queue", variable).url)


def _check_alerts(done: Examination) -> None:
    """Whether failed runs can be told. That they are not is no fault."""
    with done.check(f"connection {ALERTS}") as found:
        there = alerts_connection()
        found.append(channel(there) if there else "not defined, so nobody is told of failed runs")


@contextmanager
def _warnings() -> Iterator[BufferingHandler]:
    """Catch what our code warns of."""
    ours, handler = logging.getLogger("include"), BufferingHandler(capacity=1_000)
    handler.setLevel(logging.WARNING)
    ours.addHandler(handler)
    try:
        yield handler
    finally:
        ours.removeHandler(handler)


def show(done: Examination, console: Console) -> None:
    """The version, what was checked, what is not wrong yet; a table where somebody looks at a terminal, else lines."""
    console.print(f"user_logins {VERSION}")
    checked = [("✓" if each.is_well else "✗", each.what, each.finding) for each in done.checked]
    if console.is_terminal:
        table = Table("", Column("checked", no_wrap=True), Column("found", overflow="fold"))
        for mark, what, finding in checked:
            table.add_row(mark, what, finding, style="bold red" if mark == "✗" else None)
        console.print(table)
    else:
        for line in checked:
            console.print("  ".join(line), soft_wrap=True)
    for warning in done.not_yet:
        console.print(f"!  not wrong yet: {warning}", soft_wrap=True)
    console.print(f"{done.faults} to correct before a run." if done.faults else "A run would find all it needs.")


if __name__ == "__main__":
    # As in Airflow's own commands: else a connection in its database is not found outside of a task.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    # Airflow logs by both. What our code warns of is in the table.
    logging.getLogger().handlers = [logging.NullHandler()]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    examination = examine(sys.argv[1:] or (QUEUE_URL,))
    show(examination, Console(highlight=False, markup=False, emoji=False))
    sys.exit(min(examination.faults, 1))

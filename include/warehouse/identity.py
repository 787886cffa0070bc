"""Replica identity: what tells a published row from the others. Without it Postgres refuses updates and deletes."""

import logging

import psycopg

from include.failures import SetupError
from include.warehouse.partitions import has_months
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)


def warn_of_identity(connection: psycopg.Connection) -> None:
    """Warn where a rebuild of `user_logins` would be refused; drains and merges only insert."""
    if fault := _fault(connection):
        log.warning("%s", fault)


def check_identity(connection: psycopg.Connection) -> None:
    """Raise SetupError where a rebuild of `user_logins` would be refused."""
    if fault := _fault(connection):
        raise SetupError(f"connection warehouse: {fault}")


def _fault(connection: psycopg.Connection) -> str:
    """Which tables are published without an identity, and what to do; nothing where all have one."""
    with transaction(connection):
        [(tables,)] = connection.execute(statement("warehouse/lacks_identity")).fetchall()
    if not tables:
        return ""
    fixes = "; ".join(f"alter table {table} replica identity full" for table in tables)
    fix = "run maintain_user_logins, which adds the primary key" if has_months(connection) else fixes
    return (
        f"a publication sends the updates of {', '.join(tables)}, which has no replica identity, so that no rebuild "
        f"can correct its rows: {fix}"
    )

"""The primary key of a `user_logins` of ours that was made without one, partition by partition.

    each partition:  unique index, made concurrently ──► no nulls, by a check ──► primary key, of that index
    the table:       primary key, which takes over those of the partitions ──► our unique key goes

Made for the whole table at once, every partition's index would be built again while nobody may read. Each step looks at
what is there, so that it can be killed anywhere and begun again; those that take long lock out nobody.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from include.failures import SetupError
from include.warehouse.locks import limit_lock_waits, take_turn
from include.warehouse.partitions import has_months
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keyless:
    """A partition without a primary key, and whether its index and its check are there and valid; None: not there."""

    name: str
    index: bool | None
    check: bool | None


def add_primary_key(connection: psycopg.Connection) -> dict[str, str]:
    """Give `user_logins`, where it is ours, the primary key that it lacks, and say what was done.

    The connection must be in autocommit mode. SetupError where rows have no date. psycopg's LockNotAvailable where
    somebody keeps a partition locked, QueryCanceled where the role's statement_timeout is too short for an index.
    """
    if not has_months(connection) or not _lacks_primary_key(connection):
        return {}
    keyless = _keyless_partitions(connection)
    for partition in keyless:
        _index_partition(connection, partition)
        _forbid_nulls(connection, partition)
        _alter(connection, "warehouse/add_partition_key", partition.name)
        log.info("partition %s has its primary key", partition.name)
    _alter(connection, "warehouse/add_primary_key")
    return {"primary key of user_logins": f"added, {len(keyless)} partitions indexed"}


def _lacks_primary_key(connection: psycopg.Connection) -> bool:
    with transaction(connection):
        [(lacks,)] = connection.execute(statement("warehouse/lacks_primary_key")).fetchall()
    return bool(lacks)


def _keyless_partitions(connection: psycopg.Connection) -> list[Keyless]:
    """Those that have no primary key yet, the largest last, so that what can be done quickly is done."""
    with transaction(connection), connection.cursor(row_factory=class_row(Keyless)) as cursor:
        return cursor.execute(statement("warehouse/keyless_partitions")).fetchall()


def _index_partition(connection: psycopg.Connection, partition: Keyless) -> None:
    """Make the index of the primary key; what a killed try has left of it is no use.

    In no transaction, as Postgres wants it, and so with the session's own time-outs.
    """
    if partition.index:
        return
    if partition.index is not None:
        connection.execute(_of(partition.name, "warehouse/drop_partition_index"))
    connection.execute(_of(partition.name, "warehouse/create_partition_index"))


def _forbid_nulls(connection: psycopg.Connection, partition: Keyless) -> None:
    """Let the table know that no row is without a date, by a check that is validated while others read and write."""
    if partition.check is None:
        _alter(connection, "warehouse/add_date_check", partition.name)
    try:
        with transaction(connection):
            connection.execute(_of(partition.name, "warehouse/validate_date_check"))
    except psycopg.errors.CheckViolation:
        raise SetupError(
            f"connection warehouse: public.{partition.name} has rows without create_date, so public.user_logins cannot "
            "have its primary key: set it, or delete them"
        ) from None


def _alter(connection: psycopg.Connection, query: str, name: str = "user_logins") -> None:
    """Change a table in one short transaction, for which others wait."""
    with transaction(connection):
        take_turn(connection, "login_etl.ddl")
        limit_lock_waits(connection, "partition")
        connection.execute(_of(name, query))


def _of(name: str, query: str) -> sql.Composed:
    """The statement for a partition, with the names of its index and its check in it."""
    return statement(query).format(
        partition=sql.Identifier("public", name),
        index=sql.Identifier(f"{name}_pkey"),
        qualified_index=sql.Identifier("public", f"{name}_pkey"),
        check=sql.Identifier(f"{name}_dated"),
    )

"""Bring the warehouse to what a run needs, and refuse it, in one sentence, where that cannot be."""

import logging

import psycopg

from include.warehouse.adoption import adopt
from include.warehouse.check import check_columns, check_encoding, check_rights, check_version
from include.warehouse.migrations import migrate, pending, read_migrations
from include.warehouse.partitions import make_partitions
from include.warehouse.shape import check_keys, check_names, check_shape, check_table, check_triggers

log = logging.getLogger(__name__)


def prepare_warehouse(connection: psycopg.Connection) -> None:
    """Bring schema and partitions up to date. The connection must be in autocommit mode.

    Raises SetupError where the target table is not as expected, or where a right is missing.
    A handful of catalogue queries where all is done already.
    """
    check_encoding(connection)
    migrate_warehouse(connection)
    check_shape(connection)
    check_table(connection)
    check_columns(connection, adopting=False)
    check_keys(connection)
    for name in make_partitions(connection):
        log.info("created partition %s", name)


def check_warehouse(connection: psycopg.Connection) -> list[str]:
    """Ask what `prepare_warehouse` would do, and do nothing: the names of the migrations that it would apply.

    Raises SetupError as it would, and names the rights that are missing for them, all in one.
    """
    check_version(connection)
    check_encoding(connection)
    migrations = pending(connection, read_migrations())
    check_shape(connection)
    if migrations:
        check_columns(connection, adopting=True)
        check_names(connection)
        check_triggers(connection)
        check_rights(connection, migrating=True)
    else:
        check_rights(connection, migrating=False)
        check_table(connection)
        check_columns(connection, adopting=False)
        check_keys(connection)
    return [migration.name for migration in migrations]


def migrate_warehouse(connection: psycopg.Connection) -> None:
    """Bring the schema up to date, and no more; one or two catalogue queries where it is."""
    check_version(connection)
    if migrations := pending(connection, read_migrations()):
        # What cannot be adopted is not altered.
        check_shape(connection)
        check_columns(connection, adopting=True)
        check_names(connection)
        check_triggers(connection)
        adopt(connection, [migration.version for migration in migrations])
        for name in migrate(connection):
            log.info("applied migration %s", name)

"""Numbered SQL migrations: each is applied once, with its ledger row, in one transaction, and never edited.

A ledger is the table `schema_migrations` of a schema: `login_etl` has ours, `privacy` that of what a DBA installs. It
the SHA-256 of each file as it was applied, and where another one lies there now, the run stops. Of what was applied to
`login_etl` before 0008, which brought the checksums, it keeps that of the files as they were then.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg
from psycopg import sql

from include.failures import SetupError
from include.warehouse.ddl import OWN, raising_setup_errors
from include.warehouse.locks import limit_lock_waits, take_turn
from include.warehouse.statements import FOLDER, read_sql, statement
from include.warehouse.transactions import transaction

MIGRATIONS = FOLDER / "migrations"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Migration:
    """A file `<version>_<what it does>.sql`."""

    version: int
    name: str
    statements: sql.SQL

    @property
    def checksum(self) -> str:
        """The SHA-256 of its text, in hex, with line ends as Python reads them: a checkout may change those."""
        return sha256(self.statements.as_string().encode()).hexdigest()


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """All there are, in order."""
    return [Migration(int(path.name.split("_")[0]), path.stem, read_sql(path)) for path in sorted(folder.glob("*.sql"))]


def migrate(connection: psycopg.Connection, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what the ledger lacks, in order, and return the names applied.

    The connection must be in autocommit mode. The advisory lock is taken only when something is
    pending; whoever waited for it finds the migration done. A migration that fails leaves no
    trace, those before it stay. Raises SetupError where the role may not do it, and where a file is
    not the one that was applied.
    """
    migrations = read_migrations(folder)
    applied: list[str] = []
    fix = f"grant the role the rights in sandbox/rights.sql, or, where a table is there already, {OWN}"
    for migration in pending(connection, migrations):
        with transaction(connection):
            take_turn(connection, "login_etl.ddl")
            limit_lock_waits(connection, "migration")
            if migration not in pending(connection, migrations):
                continue
            with raising_setup_errors(f"migration {migration.name}.sql", fix):
                connection.execute(migration.statements)
                record(connection, migration, migrations)
        applied.append(migration.name)
    return applied


def pending(
    connection: psycopg.Connection, migrations: Sequence[Migration], schema: str = "login_etl"
) -> list[Migration]:
    """Those that the schema's ledger does not hold, in order; SetupError where it holds one of another text."""
    ledger = _read_ledger(connection, schema)
    for migration in migrations:
        if ledger.get(migration.version) not in (None, migration.checksum):
            raise SetupError(
                f"connection warehouse: migration {migration.name}.sql is not the file that this database was set up "
                "with, by its SHA-256: restore the file as it was, and put the change into a new migration"
            )
    return [migration for migration in migrations if migration.version not in ledger]


def warn_of_newer_tables(connection: psycopg.Connection) -> None:
    """Warn where newer code has applied migrations that this code lacks: somebody went back, or is not done upgrading.

    No reason to stop: a migration leaves the tables as the code of before can use them.
    """
    known = max(migration.version for migration in read_migrations())
    newest = max(_read_ledger(connection, "login_etl"), default=0)
    if newest > known:
        log.warning(
            "connection warehouse: its tables have migration %04d, but this code ends at %04d: newer code was here",
            newest,
            known,
        )


def record(
    connection: psycopg.Connection, migration: Migration, migrations: Sequence[Migration], schema: str = "login_etl"
) -> None:
    """The migration's ledger row; and the checksums that the ledger lacks, once it can hold them."""
    ledger = {"schema": sql.Identifier(schema)}
    row = {"version": migration.version, "name": migration.name}
    connection.execute(statement("warehouse/record_migration").format(**ledger), row)
    [(has_checksums,)] = connection.execute(statement("warehouse/has_checksums"), {"schema": schema}).fetchall()
    if has_checksums:
        connection.execute(
            statement("warehouse/record_checksums").format(**ledger),
            {
                "versions": [each.version for each in migrations],
                "checksums": [each.checksum for each in migrations],
            },
        )


def _read_ledger(connection: psycopg.Connection, schema: str) -> dict[int, str | None]:
    """The versions in the schema's ledger, with their checksums; nothing where there is no ledger."""
    with transaction(connection):
        [(has_ledger,)] = connection.execute(statement("warehouse/has_ledger"), {"schema": schema}).fetchall()
        if not has_ledger:
            return {}
        applied = statement("warehouse/applied_migrations").format(schema=sql.Identifier(schema))
        return dict(connection.execute(applied).fetchall())

"""Numbered SQL migrations: each is applied once, with its ledger row, in one transaction."""

from pathlib import Path

import psycopg

from include.failures import SetupError
from include.warehouse.locks import limit_lock_waits, take_turn
from include.warehouse.statements import FOLDER, read_sql, statement

MIGRATIONS = FOLDER / "migrations"


def migrate(connection: psycopg.Connection, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what the ledger lacks, in order, and return the names applied.

    The connection must be in autocommit mode. The advisory lock is taken only when something is
    pending; whoever waited for it finds the migration done. A migration that fails leaves no
    trace, those before it stay. Raises SetupError where the role may not do it.
    """
    applied: list[str] = []
    for path in pending(connection, folder):
        with connection.transaction():
            take_turn(connection, "login_etl.ddl")
            limit_lock_waits(connection, "migration")
            if path not in pending(connection, folder):
                continue
            try:
                connection.execute(read_sql(path))
                connection.execute(
                    statement("warehouse/record_migration"), {"version": _version(path), "name": path.stem}
                )
            except psycopg.errors.InsufficientPrivilege as error:
                raise SetupError(
                    f"connection warehouse: migration {path.name} was refused ({error.diag.message_primary}): "
                    "grant the right, or run the file as somebody who has it"
                ) from None
        applied.append(path.stem)
    return applied


def pending(connection: psycopg.Connection, folder: Path = MIGRATIONS) -> list[Path]:
    """The migration files that the ledger does not hold, in order."""
    done: set[int] = set()
    [(has_ledger,)] = connection.execute(statement("warehouse/has_ledger")).fetchall()
    if has_ledger:
        done = {version for (version,) in connection.execute(statement("warehouse/applied_migrations"))}
    return [path for path in sorted(folder.glob("*.sql")) if _version(path) not in done]


def _version(path: Path) -> int:
    return int(path.name.split("_", 1)[0])

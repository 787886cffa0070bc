"""Schema `privacy`, which a DBA installs once, and again after an upgrade; the pipeline can only use it.

What the pipeline's own migrations make, it owns and can drop: a trail there would be worth nothing. Here the owner is
a role that nobody can log in with, and that nobody is a member of once the installation is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from include.failures import SetupError
from include.warehouse.locks import limit_lock_waits, take_turn
from include.warehouse.migrations import Migration, pending, read_migrations, record
from include.warehouse.statements import FOLDER, statement
from include.warehouse.transactions import transaction

SCHEMA = "privacy"
MIGRATIONS = FOLDER / "privacy" / "schema"
OLDEST_POSTGRES = 13  # 12 lacks xid8
INSTALL = "let a DBA run: python -m include.privacy install"


@dataclass(frozen=True, slots=True)
class Standing:
    """What of schema `privacy` is there for the login of a connection."""

    is_installed: bool
    is_superuser: bool
    makes_roles: bool
    is_owner: bool
    is_member: bool


def install(connection: psycopg.Connection, *, login: str) -> list[str]:
    """Bring roles and schema up to date, let the login of connection `warehouse` use them; return what was applied.

    One transaction, in which only functions of Postgres's own are found: the pipeline may make others in `public`.
    Raises SetupError where that cannot be; psycopg's InsufficientPrivilege where the role may not do it, RaiseException
    where schema or roles are there and not as they must be.
    """
    if (version := connection.info.server_version // 10_000) < OLDEST_POSTGRES:
        raise SetupError(f"this server is Postgres {version}: schema privacy needs {OLDEST_POSTGRES} or newer")
    if connection.info.user == login:
        raise SetupError(f"{login} is the pipeline's own login, which must not own the trail: connect as another role")
    if connection.info.parameter_status("server_encoding") != "UTF8":
        raise SetupError("this database is not in UTF8, in which the trail is hashed: make one that is")
    migrations = _numbered()
    with connection.transaction():
        connection.execute("set local search_path = pg_catalog, pg_temp")
        limit_lock_waits(connection, "migration")
        take_turn(connection, "login_etl.ddl")
        if not connection.execute("select from pg_roles where rolname = %s", [login]).rowcount:
            raise SetupError(f"there is no role {login}: give the login of connection warehouse, --login NAME")
        connection.execute(statement("privacy/begin_install"))
        applied = pending(connection, migrations, SCHEMA)
        for migration in applied:
            connection.execute(migration.statements)
            record(connection, migration, migrations, SCHEMA)
        connection.execute(_end(login))
        let_analysts_read(connection)
    return [migration.name for migration in applied]


@contextmanager
def as_owner(connection: psycopg.Connection) -> Iterator[None]:
    """Be the owner for one transaction, as a DBA may; nobody is once it is over."""
    with connection.transaction():
        connection.execute(statement("privacy/begin_as_owner"))
        yield
        connection.execute(statement("privacy/end_as_owner"))


def members(connection: psycopg.Connection) -> dict[str, str]:
    """Who is in which of the roles."""
    with transaction(connection):
        return dict(connection.execute(statement("privacy/members")).fetchall())


def script(*, login: str) -> str:
    """What `install` does in a database that has none of it, for psql."""
    migrations = _numbered()
    record_all = sql.SQL("insert into privacy.schema_migrations (version, name, sha256) values {}").format(
        sql.SQL(", ").join(
            sql.SQL("({}, {}, {})").format(migration.version, migration.name, migration.checksum)
            for migration in migrations
        )
    )
    parts = [
        sql.SQL("begin;"),
        statement("privacy/begin_install"),
        *(migration.statements for migration in migrations),
        record_all + sql.SQL(";"),
        _end(login),
        statement("privacy/let_analysts_read"),
        sql.SQL("commit;"),
    ]
    return "\n\n".join(part.as_string().strip() for part in parts)


def let_analysts_read(connection: psycopg.Connection) -> None:
    """Grant the view of the logins to the group of analysts, where both are there and this role may."""
    with transaction(connection):
        connection.execute(statement("privacy/let_analysts_read"))


def check_privacy(connection: psycopg.Connection, *, needed_by: str) -> None:
    """Raise SetupError where schema `privacy` is not there as the code needs it, or not safe from this connection."""
    if fault := fault_of_privacy(connection):
        raise SetupError(f"connection warehouse: {needed_by} needs schema privacy: {fault}")


def fault_of_privacy(connection: psycopg.Connection) -> str:
    """Why this connection cannot use schema `privacy`, and what to do; nothing where it can."""
    with transaction(connection), connection.cursor(row_factory=class_row(Standing)) as cursor:
        [standing] = cursor.execute(statement("privacy/standing")).fetchall()
    login = connection.info.user
    use_another = "use a role with the rights in sandbox/rights.sql"
    for is_so, fault in (
        (not standing.is_installed, f"it is not installed: {INSTALL} --login {login}"),
        (standing.is_superuser, f"{login} is a superuser, who could rewrite the trail: {use_another}"),
        (standing.makes_roles, f"{login} may create roles, and so become its owner: alter role {login} nocreaterole"),
        (standing.is_owner, f"{login} is a member of its owner: run: revoke privacy_owner from {login}"),
        (not standing.is_member, f"{login} may not use it: {INSTALL} --login {login}"),
    ):
        if is_so:
            return fault
    missing = pending(connection, _numbered(), SCHEMA)
    return f"it lacks {', '.join(migration.name for migration in missing)}: {INSTALL}" if missing else ""


def _numbered() -> list[Migration]:
    """The migrations of the schema, in order."""
    return read_migrations(MIGRATIONS)


def _end(login: str) -> sql.Composed:
    return statement("privacy/end_install").format(pipeline=sql.Identifier(login))

"""Is the warehouse as it must be? Asked, and where possible mended, before the first message is taken."""

import logging

import psycopg
from psycopg.rows import dict_row

from include.failures import SetupError
from include.warehouse.migrations import migrate, pending
from include.warehouse.partitions import make_partitions
from include.warehouse.statements import statement

log = logging.getLogger(__name__)

OLDEST_POSTGRES = 12  # 10 has no default partitions and no indexes on partitioned tables, 11 no pg_partition_tree()

# Types that hold what we write, narrowest first. A length is the least that will do.
EXERCISE_COLUMNS: dict[str, tuple[tuple[str, ...], int | None]] = {
    "user_id": (("character varying", "text"), 128),
    "device_type": (("character varying", "text"), 32),
    "masked_ip": (("character varying", "text"), 256),
    "masked_device_id": (("character varying", "text"), 256),
    "locale": (("character varying", "text"), 32),
    "app_version": (("integer", "bigint"), None),
    "create_date": (("date",), None),
}
MAY_BE_NULL = EXERCISE_COLUMNS.keys() - {"user_id", "create_date"}
OUR_KEY = ["create_date", "message_id"]
OUR_COLUMNS: dict[str, tuple[tuple[str, ...], int | None]] = {
    "message_id": (("uuid",), None),
    "batch_id": (("bigint",), None),
}


def prepare_warehouse(connection: psycopg.Connection) -> None:
    """Bring schema and partitions up to date. The connection must be in autocommit mode.

    Raises SetupError where the target table is not as expected, or where a right is missing.
    A handful of catalogue queries where all is done already.
    """
    _check_encoding(connection)
    migrate_warehouse(connection)
    _check_table(connection)
    _check_columns(connection, adopting=False)
    _check_keys(connection)
    for name in make_partitions(connection):
        log.info("made partition %s", name)


def migrate_warehouse(connection: psycopg.Connection) -> None:
    """Bring the schema up to date, and no more; one or two catalogue queries where it is."""
    _check_version(connection)
    if pending(connection):
        _check_columns(connection, adopting=True)  # a migration must not adopt, and alter, a stranger
        for name in migrate(connection):
            log.info("applied migration %s", name)


def _check_version(connection: psycopg.Connection) -> None:
    """An older server fails in the middle of a migration, with an error that does not say so."""
    version = connection.info.server_version // 10_000
    if version < OLDEST_POSTGRES:
        raise SetupError(
            f"connection warehouse: its server is Postgres {version}, which lacks what the tables need: "
            f"use Postgres {OLDEST_POSTGRES} or newer"
        )


def _check_encoding(connection: psycopg.Connection) -> None:
    """In any other encoding one login in another alphabet fails its batch, and every run after it."""
    for name in ("server_encoding", "client_encoding"):
        encoding = connection.info.parameter_status(name)
        if encoding != "UTF8":
            raise SetupError(
                f"connection warehouse: {name} is {encoding}, which does not hold every alphabet: use a database "
                "whose encoding is UTF8, and leave client_encoding at that"
            )


def _check_columns(connection: psycopg.Connection, *, adopting: bool) -> None:
    """SetupError for a column that is missing or of a wrong kind; `adopting`: ours need not be there yet."""
    with connection.cursor(row_factory=dict_row) as cursor:
        columns = {row["name"]: row for row in cursor.execute(statement("warehouse/target_columns"))}
    if not columns:
        return  # not there: a migration makes it
    faults: list[str] = []
    ours = OUR_COLUMNS.keys() & columns.keys() if adopting else OUR_COLUMNS.keys()
    for name, (types, length) in (EXERCISE_COLUMNS | {name: OUR_COLUMNS[name] for name in sorted(ours)}).items():
        column = columns.pop(name, None)
        if column is None:
            faults.append(f"column {name} is missing")
        elif column["type"] not in types:
            faults.append(f"column {name} is {column['type']}, not {types[0]}")
        elif length and column["length"] is not None and column["length"] < length:
            faults.append(f"column {name} holds {column['length']} characters, not {length}")
        elif column["not_null"] and name in MAY_BE_NULL:
            faults.append(f"column {name} may not be null, and an event may lack it")
    for name, column in columns.items():
        if column["not_null"] and not column["has_default"]:
            faults.append(f"column {name}, which is not ours, may not be null")
    if faults:
        raise SetupError(
            f"connection warehouse: table public.user_logins is not as expected ({'; '.join(faults)}): "
            "alter it, or rename it so that a new one is made"
        )


def _check_table(connection: psycopg.Connection) -> None:
    row = connection.execute(statement("warehouse/target")).fetchone()
    if row is None:
        raise SetupError(
            "connection warehouse: public.user_logins is gone: restore it; or run delete from "
            "login_etl.schema_migrations where name = '0004_user_logins', and the next run makes an empty one"
        )
    kind, may_insert = row
    if kind not in ("r", "p"):
        raise SetupError("connection warehouse: public.user_logins must be a table: rename what has that name")
    if not may_insert:
        raise SetupError(
            "connection warehouse: its user may not write to public.user_logins: "
            "grant select, insert, update on public.user_logins to it"
        )


def _check_keys(connection: psycopg.Connection) -> None:
    with connection.cursor(row_factory=dict_row) as cursor:
        keys = cursor.execute(statement("warehouse/target_keys")).fetchall()
    if not any(key["columns"] == OUR_KEY and key["whole"] for key in keys):
        raise SetupError(
            "connection warehouse: public.user_logins has no unique key, so a redelivery would be loaded twice: "
            "create unique index on public.user_logins (create_date, message_id)"
        )
    for key in keys:
        if key["columns"] != OUR_KEY and not key["generated"]:
            raise SetupError(
                f"connection warehouse: public.user_logins has another unique key, {key['name']}, "
                "which would refuse some logins: drop it"
            )

"""Is the warehouse as it must be? Each check only asks, and raises SetupError, in one sentence, where it is not."""

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg.rows import dict_row

from include.failures import SetupError
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

OLDEST_POSTGRES = 12  # 10 has no default partitions and no indexes on partitioned tables, 11 no pg_partition_tree()


@dataclass(frozen=True, slots=True)
class Column:
    """What a column of `user_logins` must be, to hold what we write: one of the types, at least that long."""

    types: tuple[str, ...]
    length: int | None = None
    always_there: bool = False  # else an event may lack it, and it must take nulls

    def fault(self, there: dict[str, object]) -> str:
        """What is wrong with the column that is there; nothing if it will do."""
        length = there["length"]
        if there["generated"]:
            return "is generated, so nothing can be written to it"
        if there["type"] not in self.types:
            return f"is {there['type']}, not {self.types[0]}"
        if self.length and isinstance(length, int) and length < self.length:
            return f"holds {length} characters, not {self.length}"
        if there["not_null"] and not self.always_there:
            return "does not allow null, but an event may lack it"
        return ""


TEXT = ("character varying", "text")
EXERCISE_COLUMNS = {
    "user_id": Column(TEXT, 128, always_there=True),
    "device_type": Column(TEXT, 32),
    "masked_ip": Column(TEXT, 256),
    "masked_device_id": Column(TEXT, 256),
    "locale": Column(TEXT, 32),
    "app_version": Column(("integer", "bigint")),
    "create_date": Column(("date",), always_there=True),
}
OUR_COLUMNS = {
    "message_id": Column(("uuid",), always_there=True),
    "batch_id": Column(("bigint",), always_there=True),
}


def check_version(connection: psycopg.Connection) -> None:
    """An older server fails in the middle of a migration, with an error that does not say so."""
    version = connection.info.server_version // 10_000
    if version < OLDEST_POSTGRES:
        raise SetupError(
            f"connection warehouse: its server is Postgres {version}, which lacks what the tables need: "
            f"use Postgres {OLDEST_POSTGRES} or newer"
        )


def check_encoding(connection: psycopg.Connection) -> None:
    """In any other encoding one login in another alphabet fails its batch, and every run after it."""
    for name in ("server_encoding", "client_encoding"):
        encoding = connection.info.parameter_status(name)
        if encoding != "UTF8":
            raise SetupError(
                f"connection warehouse: {name} is {encoding}, which cannot store every character: use a database "
                "whose encoding is UTF8, and do not change client_encoding"
            )


def check_rights(connection: psycopg.Connection, *, migrating: bool) -> None:
    """The role may do what a run does, by the catalogue; `migrating`: also what the migrations do."""
    refuse_missing_rights(connection, "warehouse/missing_rights", {"migrating": migrating})


def refuse_missing_rights(
    connection: psycopg.Connection, query: str, values: Mapping[str, object] | None = None
) -> None:
    """SetupError where a statement of ours, by its name, returns statements that would give this role what it lacks."""
    with transaction(connection):
        [(missing,)] = connection.execute(statement(query), values).fetchall()
    if missing:
        raise SetupError(f"connection warehouse: its role lacks rights: run, as their owner: {'; '.join(missing)}")


def check_columns(connection: psycopg.Connection, *, adopting: bool) -> None:
    """Each column is there and holds what we write; `adopting`: ours need not be there yet. No table has no fault."""
    with transaction(connection), connection.cursor(row_factory=dict_row) as cursor:
        present = {row["name"]: row for row in cursor.execute(statement("warehouse/target_columns"))}
    if not present:
        return  # a migration creates the table
    ours = {name: column for name, column in OUR_COLUMNS.items() if name in present or not adopting}
    expected = EXERCISE_COLUMNS | ours
    faults: list[str] = []
    for name, column in expected.items():
        fault = column.fault(present[name]) if name in present else "is missing"
        if fault:
            faults.append(f"column {name} {fault}")
    for name, there in present.items():
        if name not in expected and there["not_null"] and not there["has_default"]:
            faults.append(f"column {name}, which is not ours, does not allow null")
    if faults:
        raise SetupError(
            f"connection warehouse: table public.user_logins is not as expected ({'; '.join(faults)}): "
            "alter it; or rename it, and follow what the next run says"
        )

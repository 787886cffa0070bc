"""Is `public.user_logins` a table in which a login can be stored once, and found again? Asking changes nothing."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.failures import SetupError
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

KINDS = {"r": "a table", "p": "a table", "v": "a view", "m": "a materialized view", "f": "a foreign table"}
OUR_KEY = ["create_date", "message_id"]


def is_there(connection: psycopg.Connection) -> bool:
    """Whether there is something of its name."""
    return _target(connection) is not None


def check_table(connection: psycopg.Connection) -> None:
    """It is there, and we may write to it."""
    target = _target(connection)
    if target is None:
        raise SetupError(
            "connection warehouse: public.user_logins is gone: restore it; or run delete from "
            "login_etl.schema_migrations where version in (4, 6, 7, 12, 15, 17, 18), and the next run creates an empty "
            "one"
        )
    if not target["may_insert"]:
        raise SetupError(
            "connection warehouse: its user may not write to public.user_logins: "
            "grant select, insert, update on public.user_logins to it"
        )


def check_shape(connection: psycopg.Connection) -> None:
    """It is a table in which a login can be stored once, and found again. No table has no fault."""
    if target := _target(connection):
        for fault in _faults_of_shape(target):
            raise SetupError(f"connection warehouse: public.user_logins {fault}")
        _check_other_keys(_keys(connection))


def check_names(connection: psycopg.Connection) -> None:
    """What the migrations make has no name that somebody has given to something else, which they would drop or miss."""
    with transaction(connection):
        [(taken,)] = connection.execute(statement("warehouse/taken_names")).fetchall()
    for name in taken:
        raise SetupError(f"connection warehouse: {name} is not this project's, which needs the name: rename it")


def check_keys(connection: psycopg.Connection) -> None:
    """It has our unique key, and no other that would refuse logins."""
    keys = _keys(connection)
    ours = [key for key in keys if key["columns"] == OUR_KEY]
    if not any(key["reliable"] for key in ours):
        why = f"; {ours[0]['name']} is partial, deferrable or invalid" if ours else ""
        raise SetupError(
            f"connection warehouse: public.user_logins has no unique key, so a redelivery would be loaded twice{why}: "
            "create unique index on public.user_logins (create_date, message_id)"
        )
    _check_other_keys(keys)


def check_triggers(connection: psycopg.Connection) -> None:
    """No trigger discards what is inserted, or moves it elsewhere, or to another day: tried with a made-up row.

    What a trigger has against the made-up row is no fault: it may like a login.
    """
    with suppress(psycopg.Error), transaction(connection):
        [(triggers,)] = connection.execute(statement("warehouse/insert_triggers")).fetchall()
        if not triggers:
            return
        stored = connection.execute(statement("warehouse/insert_made_up_row")).fetchall()
        if stored != [(True,)]:
            raise SetupError(
                f"connection warehouse: a trigger of public.user_logins ({', '.join(triggers)}) discards rows, or "
                "changes their create_date, so that logins would be lost or loaded twice: drop it"
            )
        raise psycopg.Rollback


def _target(connection: psycopg.Connection) -> dict[str, Any] | None:
    """What the table is; None where there is none."""
    with transaction(connection), connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement("warehouse/target")).fetchone()


def _keys(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """The unique keys and exclusion constraints of the table."""
    with transaction(connection), connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement("warehouse/target_keys")).fetchall()


def _faults_of_shape(target: dict[str, Any]) -> Iterator[str]:
    """Why a table of this kind cannot keep what we promise."""
    kind = KINDS.get(target["kind"], "something else")
    if kind != "a table":
        yield f"is {kind}, not a table: rename what has that name"
    for table in target["unlogged"]:
        yield f"is unlogged, so a crash would empty it: alter table {table} set logged"
    for rule in target["rules"]:
        yield f"has a rule, {rule}, with which nothing can be inserted once only: drop it"
    for child in target["children"]:
        yield (
            f"has a table that inherits from it, {child}, so that no key is unique in both, and a redelivery would be "
            "loaded twice: let it not inherit, or partition public.user_logins by range of create_date"
        )
    for partition in target["foreign_partitions"]:
        yield f"has a foreign partition, {partition}, which can have no unique key: detach it"
    if target["partitioned_by"] not in ([], ["create_date"]):
        yield (
            f"is partitioned by {', '.join(target['partitioned_by'])}, so that create_date and message_id cannot be a "
            "unique key: partition it by create_date"
        )


def _check_other_keys(keys: list[dict[str, Any]]) -> None:
    """None but ours would refuse a login."""
    for key in keys:
        if key["columns"] != OUR_KEY and not key["generated"]:
            raise SetupError(
                f"connection warehouse: public.user_logins has another unique key, {key['name']}, "
                "which would refuse some logins: drop it"
            )

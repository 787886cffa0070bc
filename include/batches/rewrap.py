"""Rows of a table get their masks under the newest key, in place; what the table refuses is halved, as in the merge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from include.batches.refusals import MAX_REFUSED
from include.privacy.masking import Keyring
from include.warehouse.errors import is_refusal, reason_of
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

Row = tuple[str, str | None, str | None]  # ctid, masked_ip, masked_device_id


@dataclass(frozen=True, slots=True)
class Place:
    """Some rows of a table, `stored` in the condition, which leaves one partition of it where there are several."""

    table: sql.Identifier
    rows: sql.Composable


@dataclass(slots=True)
class Rewrapped:
    """How many rows got new masks, and how many the table refused, by reason."""

    rows: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, other: Rewrapped) -> None:
        """These as well."""
        self.rows += other.rows
        self.refused.update(other.refused)


def pages(table: sql.Identifier, first: int, stop: int) -> Place:
    """The rows of these pages, which Postgres reads alone from version 14 on; before that it reads all for them."""
    bounds = "stored.ctid >= {first}::tid and stored.ctid < {stop}::tid"
    condition = sql.SQL(bounds).format(first=sql.Literal(f"({first},0)"), stop=sql.Literal(f"({stop},0)"))
    return Place(table, condition)


def rewrap(connection: psycopg.Connection, place: Place, keyring: Keyring) -> Rewrapped:
    """Bring the masks of a place's rows, of keys of this keyring, under its newest key.

    The caller has begun a transaction. Of rows that the table refuses up to MAX_REFUSED are sought one by one; then the
    parts that it refuses are left as they are.
    """
    done = Rewrapped()
    prefixes = [f"{kid}:" for kid in keyring.kids[:-1]]
    names = {"table": place.table, "rows": place.rows}
    with transaction(connection):
        connection.execute(statement("batches/check_constraints_now"))
        connection.execute(statement("warehouse/show_all_rows"))
        old = connection.execute(statement("privacy/old_rows").format(**names), {"prefixes": prefixes}).fetchall()
        if not old:
            return done
        connection.execute(statement("privacy/make_rewrapped"))
        parts = [[(row, keyring.rewrap(ip), keyring.rewrap(device)) for row, ip, device in old]]
        while parts:
            part = parts.pop()
            try:
                with transaction(connection):
                    done.rows += _apply(connection, place, part)
            except psycopg.Error as error:
                if not is_refusal(error):
                    raise
                if len(part) == 1 or done.refused.total() >= MAX_REFUSED:
                    done.refused[reason_of(error)] += len(part)
                else:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
    return done


def _apply(connection: psycopg.Connection, place: Place, rows: Sequence[Row]) -> int:
    """Write the masks; how many rows that were, which a trigger may make fewer."""
    connection.execute(statement("privacy/empty_rewrapped"))
    with connection.cursor().copy(statement("privacy/copy_rewrapped")) as copy:
        for row in rows:
            copy.write_row(row)
    names = {"table": place.table, "rows": place.rows}
    return connection.execute(statement("privacy/apply_rewrapped").format(**names)).rowcount

"""The SQL files, by name."""

from functools import cache
from pathlib import Path
from typing import Any, cast

from psycopg import sql

FOLDER = Path(__file__).parents[1] / "sql"


@cache
def statement(name: str) -> sql.SQL:
    """The text of `sql/<name>.sql`; a name has its folder: `batches/merge_rows`.

    Values are bound; identifiers in braces go through `.format`.
    """
    return read_sql(FOLDER / f"{name}.sql")


def read_sql(path: Path) -> sql.SQL:
    """A file of ours is as literal as a string in the code, which is what psycopg's types ask for."""
    return sql.SQL(cast(Any, path.read_text(encoding="utf-8")))

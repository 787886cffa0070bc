"""Changes of the schema that Postgres refuses: one sentence that says what to grant, or whose event trigger it is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from include.failures import SetupError

REFUSED = {"42501", "0A000", "55000", "23505"}  # no right, not supported, not in this state, not unique
FUNCTION = re.compile(r"PL/pgSQL function (?!inline_code_block)(\S+)\(")


def function_behind(error: psycopg.Error) -> str | None:
    """The function in which Postgres met the error, where it was in one; not a migration's own block."""
    function = FUNCTION.search(error.diag.context or "")
    return function[1] if function else None


@contextmanager
def raising_setup_errors(what: str, fix: str) -> Iterator[None]:
    """Turn a refusal of `what` into a SetupError with the reason and `fix`, or with the event trigger that did it."""
    try:
        yield
    except psycopg.Error as error:
        if function := function_behind(error):
            fix = f"that is function {function}, of an event trigger: let it do its work for our role, or disable it"
        elif error.sqlstate not in REFUSED:
            raise
        raise SetupError(f"connection warehouse: {what} was refused ({error.diag.message_primary}): {fix}") from None

"""Changes of the schema that Postgres refuses: one sentence that says what to grant, or whose event trigger it is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from include.failures import SetupError

REFUSED = {"42501", "0A000", "55000"}  # no right, not supported, not in this state
FUNCTION = re.compile(r"PL/pgSQL function (\S+)\(")


@contextmanager
def raising_setup_errors(what: str, fix: str) -> Iterator[None]:
    """Turn a refusal of `what` into a SetupError with the reason and `fix`, or with the event trigger that did it."""
    try:
        yield
    except psycopg.Error as error:
        function = FUNCTION.search(error.diag.context or "")
        if function and not function[1].startswith("inline_code_block"):
            fix = f"that is function {function[1]}, of an event trigger: let it do its work for our role, or disable it"
        elif error.sqlstate not in REFUSED:
            raise
        raise SetupError(f"connection warehouse: {what} was refused ({error.diag.message_primary}): {fix}") from None

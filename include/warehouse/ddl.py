"""Changes of the schema that Postgres refuses: one sentence that says what to grant, or whose trigger it is."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from include.failures import SetupError
from include.warehouse.errors import function_behind, reason_of, text_of

# Migrations alter the tables, which only their owner may, whatever was granted.
OWN = "make the role of connection warehouse its owner (alter table … owner to …), or a member of the role that owns it"
REFUSED = {"42501", "0A000", "55000", "23505"}  # no right, not supported, not in this state, not unique


@contextmanager
def raising_setup_errors(what: str, fix: str) -> Iterator[None]:
    """Turn a refusal of `what` into a SetupError with the reason and `fix`, or with the trigger that did it."""
    try:
        yield
    except psycopg.Error as error:
        if function := function_behind(error):
            fix = f"function {function} of a trigger, or an event trigger, did it: let our role use it, or disable it"
            raise SetupError(f"connection warehouse: {what} was refused ({reason_of(error)}): {fix}") from None
        if error.sqlstate not in REFUSED:
            raise
        raise SetupError(f"connection warehouse: {what} was refused ({text_of(error)}): {fix}") from None

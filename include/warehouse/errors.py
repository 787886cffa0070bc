"""What an error of Postgres means: whether it may pass, and what may be said of it, since texts quote rows."""

import re

import psycopg

# What may pass by itself: a connection, a rollback, resources, an operator, the system; a server that is read only, a
# lock. All else the table, or a trigger of somebody's, will say to the same row again.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
PASSING_CLASSES = {"08", "25", "40", "53", "57", "58"}
PASSING = {"55P03", "55006"}
QUOTES_VALUES = "22"  # the class whose texts quote the value
FUNCTION = re.compile(r"PL/pgSQL function (?!inline_code_block)(\S+)\(")


def is_refusal(error: psycopg.Error) -> bool:
    """Whether the database will say the same again, until somebody fixes it."""
    state = error.sqlstate
    return state is not None and state[:2] not in PASSING_CLASSES and state not in PASSING


def function_behind(error: psycopg.Error) -> str | None:
    """The function in which Postgres met the error, where it was in one; not a migration's own block."""
    function = FUNCTION.search(error.diag.context or "")
    return function[1] if function else None


def reason_of(error: psycopg.Error) -> str:
    """The names of the error and of the function, constraint or column behind it.

    >>> reason_of(psycopg.errors.UniqueViolation())
    'UniqueViolation'
    """
    name = type(error).__name__ if type(error).sqlstate else f"error {error.sqlstate}"
    for kind, what in (
        ("function", function_behind(error)),  # which may give a constraint any name
        ("constraint", error.diag.constraint_name),
        ("column", error.diag.column_name),
    ):
        if what:
            return f"{name} ({kind} {what})"
    return name


def text_of(error: psycopg.Error) -> str:
    """Its first line, where that quotes no value: the lines below quote rows, a function's text may say anything."""
    if function_behind(error) or (error.sqlstate or "").startswith(QUOTES_VALUES):
        return reason_of(error)
    return error.diag.message_primary or " ".join(str(error).split())

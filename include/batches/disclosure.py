"""Disclosure: which messages a request is about, for an officer to read once somebody else has approved it."""

from __future__ import annotations

import logging

import psycopg
from psycopg.rows import class_row

from include.batches.reconciliation import FailedCheck
from include.failures import SetupError
from include.privacy import requests
from include.privacy.install import check_privacy
from include.privacy.requests import Item, Request
from include.warehouse.locks import take_turn
from include.warehouse.statements import statement
from include.warehouse.transactions import transaction

log = logging.getLogger(__name__)

MOST_MASKS = 100
CANDIDATES = 20  # messages of a mask that are looked at for an original
MOST_ROWS = 10_000  # of a person who asks what is held about them
DECIDED = ("approved", "rejected")


def ask(connection: psycopg.Connection, request: Request) -> int:
    """Write a request down; return how many masks, or rows of a person, it is for.

    Raises SetupError where it cannot be served, FailedCheck where it is refused.
    """
    check_privacy(connection, needed_by="disclosure")
    with transaction(connection):
        [(kept,)] = connection.execute(statement("privacy/has_recipients")).fetchall()
    if not kept:
        raise SetupError(
            "no original was ever kept: an officer registers a public key, python -m include.privacy register"
        )
    with transaction(connection):
        take_turn(connection, "login_etl.merge")  # an erasure has it, and would not see what we are about to note
        items = rows_of_case(connection, request) if request.is_access else find_masks(connection, request)
        verdict = requests.ask(connection, request, items)
    if verdict != "asked":
        raise FailedCheck(f"the request is refused: {verdict}: ask with a new run")
    return len({item.item for item in items})


def decide(connection: psycopg.Connection, request: Request, *, approver: str | None, approve: bool) -> str:
    """Write down who decided; return `approved` or `rejected`. FailedCheck, and it is in the trail, for neither."""
    verdict = requests.decide(connection, request, approver=approver, approve=approve)
    if verdict not in DECIDED:
        raise FailedCheck(f"nothing is granted: {verdict}: ask with a new run")
    return verdict


def find_masks(connection: psycopg.Connection, request: Request) -> list[Item]:
    """The messages of each mask; FailedCheck where one is in no login."""
    with transaction(connection), connection.cursor(row_factory=class_row(Item)) as cursor:
        cursor.execute(statement("warehouse/show_all_rows"))
        asked = {"masks": list(request.masks), "candidates": CANDIDATES}
        items = cursor.execute(statement("privacy/find_masks"), asked).fetchall()
    if missing := len(set(request.masks) - {item.mask for item in items}):
        raise FailedCheck(
            f"{missing} of {len(set(request.masks))} masks are in no login that came as a message: copy them from "
            "user_logins, and after a rotation copy them again"
        )
    return items


def rows_of_case(connection: psycopg.Connection, request: Request) -> list[Item]:
    """What is stored of the person that the case is about; FailedCheck where there is nobody."""
    with transaction(connection):
        connection.execute(statement("warehouse/show_all_rows"))
        case = {"case_number": request.case_number}
        [(noted,)] = connection.execute(statement("privacy/is_access_noted"), case).fetchall()
        rows = connection.execute(statement("privacy/rows_of_case"), case | {"rows": MOST_ROWS + 1}).fetchall()
    if not noted:
        raise FailedCheck(
            f"case {request.case_number} is about nobody: give masks, or let an officer run "
            f"python -m include.privacy access --case {request.case_number}"
        )
    if len(rows) > MOST_ROWS:
        log.warning("the person has more than %d rows: the newest are asked for", MOST_ROWS)
    return [
        Item(number, 1, message_id=message_id, stored=stored)
        for number, (message_id, stored) in enumerate(rows[:MOST_ROWS], start=1)
    ]

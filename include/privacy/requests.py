"""Requests to see originals: asked for and decided in Airflow, disclosed to an officer. The database judges each step.

    asked ──► approved ──► disclosed, again and again, until it expires or is revoked
      │  └──► rejected
      └─────► nobody decides within a week: over

Each step returns a verdict instead of raising, so that what is refused is in the trail as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from include.warehouse.statements import statement
from include.warehouse.transactions import transaction


@dataclass(frozen=True, slots=True)
class Request:
    """What a run of `disclose_pii` asks for; no masks: all of the person that the case is about."""

    run_id: str
    requester: str
    case_number: str
    reason: str
    masks: tuple[str, ...] = ()

    @property
    def is_access(self) -> bool:
        """Whether somebody asked what is held about them."""
        return not self.masks

    @property
    def digest(self) -> str:
        """What a decision is bound to: SHA-256 of all of it, in hex. The order of the masks does not count."""
        fields = asdict(self) | {"masks": sorted(self.masks)}
        return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Item:
    """A message that may have an original of a mask, or of a row; `item` numbers these, `candidate` their messages."""

    item: int
    candidate: int
    field: str | None = None
    mask: str | None = None
    message_id: UUID | None = None
    stored: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it stands; `standing` is `granted`, or why it is not."""

    request_id: int
    case_number: str
    requester: str
    approver: str | None
    reason: str | None
    is_access: bool
    items: int
    asked_at: datetime
    valid_until: datetime | None
    standing: str


@dataclass(frozen=True, slots=True)
class Disclosed:
    """What is left of an item: sealed values, and the batch's data key, sealed to one recipient."""

    item: int
    field: str | None
    mask: str | None
    stored: dict[str, Any] | None
    message_id: UUID | None
    batch_id: int | None
    sealed_key: bytes | None
    sealed_ip: bytes | None
    sealed_device_id: bytes | None


def ask(connection: psycopg.Connection, request: Request, items: Sequence[Item]) -> str:
    """Write a request down, and commit; return `asked`, or why not. Again for the same run while nobody has decided."""
    listed = json.dumps([asdict(item) for item in items], default=str)
    fields = {name: value for name, value in asdict(request).items() if name != "masks"}
    return _verdict(
        connection, "privacy/ask", **fields, digest=request.digest, is_access=request.is_access, items=listed
    )


def decide(connection: psycopg.Connection, request: Request, *, approver: str | None, approve: bool) -> str:
    """Write down who decided, and commit; return `approved`, `rejected`, or why it does not count."""
    decision = {"run_id": request.run_id, "digest": request.digest, "approver": approver, "approve": approve}
    return _verdict(connection, "privacy/decide", **decision)


def requests(connection: psycopg.Connection) -> list[Asked]:
    """All requests, newest first."""
    with transaction(connection), connection.cursor(row_factory=class_row(Asked)) as cursor:
        return cursor.execute(statement("privacy/requests")).fetchall()


def disclose(connection: psycopg.Connection, request_id: int) -> str:
    """Write down that this login reads what a request is for, and commit; return `disclosed`, or why it may not."""
    return _verdict(connection, "privacy/disclose", request_id=request_id)


def disclosed(connection: psycopg.Connection, request_id: int, *, key_id: str) -> list[Disclosed]:
    """What is left of a request's items, for the recipient with this key id; nothing that was not disclosed before."""
    with transaction(connection), connection.cursor(row_factory=class_row(Disclosed)) as cursor:
        named = {"request_id": request_id, "key_id": key_id}
        return cursor.execute(statement("privacy/disclosed"), named).fetchall()


def revoke(connection: psycopg.Connection, request_id: int) -> str:
    """End a request, and commit; return `revoked`, or how it stands."""
    return _verdict(connection, "privacy/revoke", request_id=request_id)


def ask_access(connection: psycopg.Connection, *, case_number: str, user_id: str) -> str:
    """Note which person a case is about, and commit; return `noted`, or what is wrong with it."""
    return _verdict(connection, "privacy/ask_access", case_number=case_number, user_id=user_id)


def _verdict(connection: psycopg.Connection, name: str, **values: object) -> str:
    with transaction(connection, durable=True):  # no crash undoes what somebody has acted on
        [(verdict,)] = connection.execute(statement(name), values).fetchall()
    return str(verdict)

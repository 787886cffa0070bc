"""What the API answers, as OpenAPI describes it; what the page has as a dataclass is answered as that."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from include.page.situation import Situation
from include.page.verdicts import Verdict


class Summary(BaseModel):
    """How the pipeline is: its states, the most urgent first, and the numbers behind them."""

    verdicts: list[Verdict]
    situation: Situation


class Health(BaseModel):
    """`alive`: this answer came, and the warehouse answers. `keeping_up`: logins arrive as they should.

    `all_well`: nothing else is wrong, either. `state` and `sentence` are the most urgent verdict's.
    """

    alive: Literal[True] = True
    keeping_up: bool
    all_well: bool
    state: str
    sentence: str
    as_of: datetime


class Batch(BaseModel):
    """A batch with its counts; null is what has not happened, or is not known."""

    batch_id: int
    dag_id: str | None
    run_id: str
    map_index: int
    try_number: int
    source: str
    kid: str
    received: int
    staged: int
    rejected: int
    inserted: int | None
    already_there: int | None
    refused: int
    deleted: int | None
    expired: int | None
    delete_failed: int | None
    oldest_sent_at: datetime
    newest_sent_at: datetime
    staged_at: datetime
    merged_at: datetime | None
    refusal: str | None


class Batches(BaseModel):
    """Batches, the newest first; `next` is the `before` of the page behind, null at the end."""

    batches: list[Batch]
    next: int | None


class Reason(BaseModel):
    """Why messages were rejected, how many were, and how many of them can be replayed."""

    reason: str
    messages: int
    replayable: int


class Rejects(BaseModel):
    """The commonest reasons of a range of time."""

    start: datetime
    stop: datetime
    reasons: list[Reason]


class SharedMask(BaseModel):
    """A mask, and how many users and logins have it."""

    mask: str
    users: int
    logins: int


class Shared(BaseModel):
    """The masks that most users share, as of `counted_at`; that is null before the first count."""

    counted_at: datetime | None
    masks: list[SharedMask]


class Login(BaseModel):
    """The seven columns of `user_logins`; address and device id are masks. Null in all three of an erased user."""

    user_id: str | None
    device_type: str | None
    masked_ip: str | None
    masked_device_id: str | None
    locale: str | None
    app_version: int | None
    create_date: date


class Logins(BaseModel):
    """Logins of a day, in the order of their message ids; `next` is the `after` of the page behind, null at the end."""

    logins: list[Login]
    next: UUID | None

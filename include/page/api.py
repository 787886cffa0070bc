"""The API behind the page, `/api/v1`: what it shows, for programs. Read only, masked only, in pages of bounded size.

Times are ISO 8601 in UTC. Errors have one shape, `Problem`, whatever they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

import psycopg
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from pydantic import BeforeValidator

from include.page import panels
from include.page.answers import Batches, Health, Logins, Reason, Rejects, Shared, Summary
from include.page.errors import Problem
from include.page.messages import NOT_HERE, Found, find_message
from include.page.ranges import range_of
from include.page.reading import ask, reading
from include.page.rendering import HEADERS
from include.page.situation import read_situation
from include.page.verdicts import verdicts
from include.page.view import check_tables

PREFIX = "/api/v1"
LARGEST_ID = 2**63 - 1
FIRST = UUID(int=0)

PROBLEMS = {
    HTTPStatus.UNAUTHORIZED: "Without a session or a token of Airflow's",
    HTTPStatus.FORBIDDEN: "For who may not see the DAG user_logins; of its logins, for who may not edit it",
    HTTPStatus.UNPROCESSABLE_ENTITY: "For a parameter that is not as described",
    HTTPStatus.SERVICE_UNAVAILABLE: "Where the warehouse cannot be asked, or is not set up yet",
}


def _keep_nowhere(response: Response) -> None:
    """Let no cache keep what is personal data."""
    response.headers.update(HEADERS)


def _router() -> APIRouter:
    return APIRouter(
        prefix=PREFIX,
        dependencies=[Depends(_keep_nowhere)],
        responses={int(status): {"model": Problem, "description": says} for status, says in PROBLEMS.items()},
    )


router = _router()  # for whoever may see the page
of_users = _router()  # for fewer: it has user ids


def _day(text: object) -> object:
    """A day is written as one: pydantic alone takes seconds since 1970 as well."""
    if isinstance(text, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        raise ValueError("write it like 2026-01-31")
    return text


Day = Annotated[date, BeforeValidator(_day), Path(description="`create_date`: the UTC day of sending")]
Rows = Annotated[int, Query(ge=1, le=1_000, description="How many at most")]
RangeName = Literal["1h", "6h", "24h", "7d", "30d"]


@router.get("/summary")
def summary(request: Request) -> Summary:
    """The verdict, and the numbers behind it."""
    with _asked(request) as warehouse:
        situation = read_situation(warehouse)
    return Summary(verdicts=verdicts(situation), situation=situation)


@router.get("/health")
def health(request: Request) -> Health:
    """200 where the warehouse answers, whether the pipeline keeps up or not; 503 where it does not answer."""
    with _asked(request) as warehouse:
        situation = read_situation(warehouse)
    said = verdicts(situation)
    return Health(
        keeping_up=not any(each.stops_flow for each in said),
        all_well=all(each.tone in ("good", "note") and each.name != "nothing_yet" for each in said),
        state=said[0].name,
        sentence=said[0].sentence,
        as_of=situation.now,
    )


@router.get("/batches")
def batches(
    request: Request,
    before: Annotated[int, Query(ge=1, le=LARGEST_ID, description="Batches with smaller ids")] = LARGEST_ID,
    limit: Rows = 100,
) -> Batches:
    """Batches with their counts, the newest first."""
    with _asked(request) as warehouse:
        rows, more = _page(ask(warehouse, "batches", before=before, rows=limit + 1), limit)
    return Batches(batches=rows, next=rows[-1]["batch_id"] if more else None)


@router.get("/rejects")
def rejects(
    request: Request,
    range: Annotated[RangeName, Query(description="How far back")] = "24h",  # noqa: A002 - its name
) -> Rejects:
    """Why messages were rejected, and how many."""
    with _asked(request) as warehouse:
        [(now,)] = warehouse.execute("select now()").fetchall()
        span = range_of(range, now)
        found = panels.rejects(warehouse, span)
    reasons = [
        Reason(reason=reason, messages=messages, replayable=replayable)
        for reason, messages, replayable in found.reasons
    ]
    return Rejects(start=span.start, stop=span.stop, reasons=reasons)


@router.get("/shared-devices")
def shared_devices(request: Request, limit: Rows = 100) -> Shared:
    """The devices that most users share."""
    return _shared(request, "device_id", limit)


@router.get("/shared-addresses")
def shared_addresses(request: Request, limit: Rows = 100) -> Shared:
    """The addresses that most users share."""
    return _shared(request, "ip", limit)


@router.get("/messages/{message_id}", responses={404: {"model": Problem, "description": "Where no batch has it"}})
def message(request: Request, message_id: Annotated[UUID, Path(description="SQS message id")]) -> Found:
    """What became of a message."""
    with _asked(request) as warehouse:
        found = find_message(warehouse, message_id)
    if not found.steps:
        raise HTTPException(HTTPStatus.NOT_FOUND, NOT_HERE)
    return found


@of_users.get("/logins/{day}")
def logins(
    request: Request,
    day: Day,
    after: Annotated[UUID, Query(description="The `next` of the page before")] = FIRST,
    limit: Rows = 100,
) -> Logins:
    """The logins of a day, masked; those from before this project, which have no message, are left out."""
    with _asked(request) as warehouse:
        rows, more = _page(ask(warehouse, "logins", day=day, after=after, rows=limit + 1), limit)
    return Logins(logins=rows, next=rows[-1]["message_id"] if more else None)


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """This API as OpenAPI describes it."""
    described: dict[str, Any] = request.app.openapi()
    return described | {"servers": [{"url": request.scope["root_path"]}]}


@contextmanager
def _asked(request: Request) -> Iterator[psycopg.Connection]:
    """A connection in a read-only transaction; NotThereYet where there are no tables of this version."""
    with request.app.state.asking() as warehouse:
        check_tables(warehouse)
        with reading(warehouse):
            yield warehouse


def _page(rows: list[Any], limit: int) -> tuple[list[Any], bool]:
    """The rows of a page, and whether there are more behind it: one more was asked for."""
    return rows[:limit], len(rows) > limit


def _shared(request: Request, field: str, limit: int) -> Shared:
    with _asked(request) as warehouse:
        [counted] = ask(warehouse, "counted_at")
        return Shared(**counted, masks=ask(warehouse, "shared", field=field, rows=limit))

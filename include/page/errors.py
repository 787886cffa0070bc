"""Errors as answers that say what to do: never a value of a message, never a trace."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import psycopg
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from include.failures import SetupError
from include.page.rendering import render
from include.page.view import NotThereYet
from include.warehouse.errors import text_of


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, in a heading, and what to do about it."""

    status: int
    title: str
    advice: str


NO_WAREHOUSE = "The warehouse cannot be asked"
GO_BACK = "Go back to the beginning"
REFUSED = {
    HTTPStatus.UNAUTHORIZED: ("Your session has ended", "Log in to Airflow again"),
    HTTPStatus.FORBIDDEN: (
        "This page is for who may see the DAG user_logins",
        "Ask an admin of Airflow for a role that can read that DAG",
    ),
    HTTPStatus.NOT_FOUND: ("There is no such page", GO_BACK),
}


def fault_of(error: Exception) -> Fault:
    """What to say of an error; of one that nobody expects no more than its type, since its text may quote anything."""
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        title, advice = REFUSED.get(status, (status.phrase, GO_BACK))
        return Fault(status, title, advice)
    if isinstance(error, NotThereYet):
        return Fault(HTTPStatus.OK, "Nothing to see yet", str(error))
    if isinstance(error, SetupError | ConnectionError | TimeoutError):
        return Fault(HTTPStatus.SERVICE_UNAVAILABLE, NO_WAREHOUSE, str(error))
    if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable):
        advice = "It did not answer in time. Runs may go on all the same: their logs say so"
        return Fault(HTTPStatus.SERVICE_UNAVAILABLE, NO_WAREHOUSE, advice)
    if isinstance(error, psycopg.Error):
        return Fault(HTTPStatus.SERVICE_UNAVAILABLE, NO_WAREHOUSE, text_of(error))
    advice = f"It failed with {type(error).__name__}: the log of Airflow's API server says where"
    return Fault(HTTPStatus.INTERNAL_SERVER_ERROR, "This page has failed", advice)


def answer(request: Request, error: Exception) -> Response:
    """An error as a page."""
    fault = fault_of(error)
    return render(request, "error.html.jinja", fault.status, fault=fault)


def add_to(app: FastAPI) -> None:
    """Let the application answer with these."""
    for kind in (HTTPException, NotThereYet, SetupError, ConnectionError, TimeoutError, psycopg.Error, Exception):
        app.add_exception_handler(kind, answer)

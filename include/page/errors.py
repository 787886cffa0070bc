"""Errors as answers that say what to do: never a value of a message, never a trace.

A person gets them as a page, a program as a `Problem`, and Prometheus as a line of text.
"""

from __future__ import annotations

import logging
from http import HTTPStatus

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from include.failures import SetupError
from include.page.rendering import HEADERS, render
from include.page.view import NotThereYet
from include.warehouse.errors import text_of

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """An error, of whichever kind: its HTTP status, what is wrong, and what to do about it."""

    status: int
    title: str
    advice: str


NO_WAREHOUSE = "The warehouse cannot be asked"
NOTHING_YET = "Nothing to see yet"
GO_BACK = "Go back to the beginning"
REFUSED = {
    HTTPStatus.UNAUTHORIZED: ("You are not logged in", "Log in to Airflow again; a program sends a token of it"),
    HTTPStatus.FORBIDDEN: (
        "This page is for who may see the DAG user_logins",
        "Ask an admin of Airflow for a role that can read that DAG; or, for its logins, edit it",
    ),
    HTTPStatus.NOT_FOUND: ("There is no such page", GO_BACK),
}


def problem_of(error: Exception) -> Problem:
    """What to say of an error; of one that nobody expects no more than its type, since its text may quote anything."""
    match error:
        case HTTPException():
            status = HTTPStatus(error.status_code)
            title, advice = REFUSED.get(status, (status.phrase, GO_BACK))
            # What Airflow says of a token is nobody's concern; of what is not found, we say where it may be.
            is_ours = status == HTTPStatus.NOT_FOUND and error.detail != status.phrase
            return Problem(status=status, title=title, advice=str(error.detail) if is_ours else advice)
        case RequestValidationError():
            return Problem(
                status=HTTPStatus.UNPROCESSABLE_ENTITY, title="A parameter is not as it must be", advice=_wrong(error)
            )
        case NotThereYet():
            return Problem(status=HTTPStatus.SERVICE_UNAVAILABLE, title=NOTHING_YET, advice=str(error))
        case SetupError() | ConnectionError() | TimeoutError():
            advice = str(error)
            if isinstance(error, ConnectionError):  # its text names the server
                log.warning("the page has no warehouse: %s", error)
                advice = "It does not answer: the log of Airflow's API server says why"
            return Problem(status=HTTPStatus.SERVICE_UNAVAILABLE, title=NO_WAREHOUSE, advice=advice)
        case psycopg.Error():
            slow = isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable)
            advice = "It did not answer in time. Runs may go on all the same" if slow else text_of(error)
            return Problem(status=HTTPStatus.SERVICE_UNAVAILABLE, title=NO_WAREHOUSE, advice=advice)
    advice = f"It failed with {type(error).__name__}: the log of Airflow's API server says where"
    return Problem(status=HTTPStatus.INTERNAL_SERVER_ERROR, title="This page has failed", advice=advice)


def answer(request: Request, error: Exception) -> Response:
    """An error in the form of what was asked for."""
    problem = problem_of(error)
    path = request.url.path.removeprefix(str(request.scope["root_path"]))
    if path.startswith("/api/"):
        return JSONResponse(problem.model_dump(), problem.status, headers=HEADERS)
    if path == "/metrics":
        return PlainTextResponse(f"{problem.title}: {problem.advice}\n", problem.status, headers=HEADERS)
    return render(request, "error.html.jinja", problem.status, problem=problem, is_early=isinstance(error, NotThereYet))


def add_to(app: FastAPI) -> None:
    """Let the application answer with these."""
    ours = (NotThereYet, SetupError, ConnectionError, TimeoutError)
    for kind in (HTTPException, RequestValidationError, *ours, psycopg.Error, Exception):
        app.add_exception_handler(kind, answer)


def _wrong(error: RequestValidationError) -> str:
    """Each parameter, and what is wrong with it; not what was given, which may be anything."""
    return "; ".join(
        f"{each['loc'][-1]}: {'no UUID' if each['type'] == 'uuid_parsing' else each['msg']}" for each in error.errors()
    )

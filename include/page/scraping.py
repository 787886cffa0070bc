"""What Prometheus asks for. It has no user of Airflow's, whose tokens last a day, but a secret of its own."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from include.page.metrics import CONTENT_TYPE, authorised, exposition
from include.page.view import check_tables

router = APIRouter(include_in_schema=False)


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """The metrics; 404 where no secret is defined, 401 for another one."""
    secret = request.app.state.metrics_secret()
    if not secret:
        return _refused(HTTPStatus.NOT_FOUND, "Define the connection user_logins_metrics: its password is the secret")
    if not authorised(request.headers.get("authorization"), secret):
        return _refused(HTTPStatus.UNAUTHORIZED, "Send the password of user_logins_metrics as a bearer token")
    with request.app.state.scraping() as warehouse:
        check_tables(warehouse)
        return Response(exposition(warehouse), media_type=CONTENT_TYPE)


def _refused(status: HTTPStatus, advice: str) -> Response:
    return PlainTextResponse(f"{advice}\n", status, headers={"WWW-Authenticate": "Bearer"})

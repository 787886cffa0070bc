"""What a browser asks for: the page, and a message."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from include.page.messages import find_message
from include.page.reading import reading
from include.page.rendering import render
from include.page.view import check_tables, look

router = APIRouter(include_in_schema=False)


@router.get("/")
def page(request: Request, range: str = "") -> Response:  # noqa: A002 - its name in the address
    """The page, over a range of time by its name; the shortest that has all, or a day, without one."""
    with request.app.state.asking() as warehouse:
        view = look(warehouse, range)
    return render(request, "page.html.jinja", view=view)


@router.get("/message")
def message(request: Request, id: str = "") -> Response:  # noqa: A002 - its name in the address
    """What became of a message. Nothing but its id is asked for: anything else would stay in addresses and logs."""
    asked = id.strip()[:100]
    try:
        message_id = UUID(asked)
    except ValueError:
        return render(request, "message.html.jinja", HTTPStatus.BAD_REQUEST, asked=asked, found=None)
    with request.app.state.asking() as warehouse:
        check_tables(warehouse)
        with reading(warehouse):
            found = find_message(warehouse, message_id)
    return render(request, "message.html.jinja", asked=str(message_id), found=found)

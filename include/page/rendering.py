"""Templates become answers, with links that work wherever Airflow and the page are mounted."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader

from include.page import charts, links
from include.page.wording import ago, duration, moment

# Nothing but our own files is loaded, and only Airflow may show the page in a frame.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
TEMPLATES.globals.update(charts=charts, links=links, duration=duration, moment=moment, ago=ago)


def render(request: Request, template: str, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """The template's text; it has `root`, where the page is, and `base`, where Airflow is, without a last slash."""
    root = str(request.scope["root_path"])
    base = root.removesuffix(request.app.state.mounted_at)
    text = TEMPLATES.get_template(template).render(root=root, base=base, **values)
    return HTMLResponse(text, status, headers=HEADERS)

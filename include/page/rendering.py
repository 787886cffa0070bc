"""Templates become answers, with links that work wherever Airflow and the page are mounted."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader

from include.page import charts, links
from include.page.ranges import RANGES
from include.page.wording import ago, duration, moment
from include.release import VERSION

FOLDER = Path(__file__).parent / "templates"
# Within the page, so that nothing has to be loaded: also not the look of an error, for who may load nothing.
CSS, JS = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))


def _source(text: str) -> str:
    """What a Content-Security-Policy has of an element that may be in a page: the hash of its text."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


# Nothing but our own style and script counts, and only Airflow may show the page in a frame.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src {_source(CSS)}; script-src {_source(JS)}; connect-src 'self'; img-src data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
TEMPLATES = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
TEMPLATES.globals.update(css=CSS, js=JS, version=VERSION)
TEMPLATES.globals.update(RANGES=RANGES, charts=charts, links=links, duration=duration, moment=moment, ago=ago)


def render(request: Request, template: str, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """The template's text; it has `root`, where the page is, and `base`, where Airflow is, without a last slash."""
    root = str(request.scope["root_path"])
    base = root.removesuffix(request.app.state.mounted_at)
    text = TEMPLATES.get_template(template).render(root=root, base=base, **values)
    return HTMLResponse(text, status, headers=HEADERS)

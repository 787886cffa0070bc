"""The web application behind Airflow's page "User logins": who may ask, and how much at once.

Every route but `/metrics`, which has a secret of its own, is for who may read the DAG `user_logins`. Routes are plain
functions, which FastAPI runs in threads: a slow warehouse holds up no other page of Airflow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import Any

import psycopg
from fastapi import Depends, FastAPI

from include.page import api, errors, pages, scraping

AT_ONCE = 4  # requests that ask the warehouse; more wait, and are then told to come again
PATIENCE = 3  # seconds
KEPT_SECONDS = 30
BUSY = "Too many people look at this page at once: come again in a few seconds"

OpenWarehouse = Callable[[], AbstractContextManager[psycopg.Connection]]


def build(
    *,
    require_access: Callable[..., Any],
    require_edit: Callable[..., Any],
    open_warehouse: OpenWarehouse,
    metrics_secret: Callable[[], str],
    mounted_at: str,
) -> FastAPI:
    """The application.

    `require_access` is a dependency that raises HTTPException for who may not look, `require_edit` for who may not see
    users, such as a viewer.
    `open_warehouse` gives a connection in autocommit mode, or raises SetupError or ConnectionError; `metrics_secret`
    what a scrape has to know, nothing for no metrics; `mounted_at` is where the application is below Airflow's base
    path, such as `/user-logins`.
    """
    app = FastAPI(
        title="User logins", version="1", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.state.mounted_at = mounted_at
    app.state.asking = at_most(AT_ONCE, open_warehouse)
    app.state.scraping = at_most(1, open_warehouse)  # of its own: who looks at the page must not blind who watches
    app.state.metrics_secret = kept(metrics_secret)
    for router in (pages.router, api.router):
        app.include_router(router, dependencies=[Depends(require_access)])
    app.include_router(api.of_users, dependencies=[Depends(require_edit)])
    app.include_router(scraping.router)
    errors.add_to(app)
    return app


def at_most(number: int, open_warehouse: OpenWarehouse, *, patience: float = PATIENCE) -> OpenWarehouse:
    """The same, for so many at once, while as many wait; TimeoutError, with a sentence, for all others.

    Whoever waits keeps one of the few threads that Airflow's own routes need as well, heartbeats of tasks among them.
    """
    waiting, places = threading.BoundedSemaphore(2 * number), threading.BoundedSemaphore(number)

    @contextmanager
    def asking() -> Iterator[psycopg.Connection]:
        if not waiting.acquire(blocking=False):
            raise TimeoutError(BUSY)
        try:
            if not places.acquire(timeout=patience):
                raise TimeoutError(BUSY)
            try:
                with open_warehouse() as connection:
                    yield connection
            finally:
                places.release()
        finally:
            waiting.release()

    return asking


def kept(read: Callable[[], str], *, seconds: float = KEPT_SECONDS) -> Callable[[], str]:
    """The same, read again after so many seconds at the soonest: strangers could ask a secrets backend for it."""
    found: list[tuple[float, str]] = []

    def secret() -> str:
        if not found or monotonic() - found[0][0] > seconds:
            found[:] = [(monotonic(), read())]
        return found[0][1]

    return secret

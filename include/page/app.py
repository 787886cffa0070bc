"""The web application behind Airflow's page "User logins": who may ask, and how much at once.

Every route but `/metrics`, which has a secret of its own, is for who may read the DAG `user_logins`. Routes are plain
functions, which FastAPI runs in threads: a slow warehouse holds up no other page of Airflow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
from fastapi import Depends, FastAPI

from include.page import api, errors, pages, scraping

AT_ONCE = 4  # requests that ask the warehouse; more wait, and are then told to come again
PATIENCE = 3  # seconds

OpenWarehouse = Callable[[], AbstractContextManager[psycopg.Connection]]


def build(
    *,
    require_access: Callable[..., Any],
    open_warehouse: OpenWarehouse,
    metrics_secret: Callable[[], str],
    mounted_at: str,
) -> FastAPI:
    """The application. `require_access` is a dependency that raises HTTPException for who may not look.

    `open_warehouse` gives a connection in autocommit mode, or raises SetupError or ConnectionError; `metrics_secret`
    what a scrape has to know, nothing for no metrics; `mounted_at` is where the application is below Airflow's base
    path, such as `/user-logins`.
    """
    app = FastAPI(title="User logins", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.mounted_at = mounted_at
    app.state.asking = at_most(AT_ONCE, open_warehouse)
    app.state.metrics_secret = metrics_secret
    for router in (pages.router, api.router):
        app.include_router(router, dependencies=[Depends(require_access)])
    app.include_router(scraping.router)
    errors.add_to(app)
    return app


def at_most(number: int, open_warehouse: OpenWarehouse, *, patience: float = PATIENCE) -> OpenWarehouse:
    """The same, for so many at once; TimeoutError, with a sentence, for who would have to wait for long."""
    places = threading.BoundedSemaphore(number)

    @contextmanager
    def asking() -> Iterator[psycopg.Connection]:
        if not places.acquire(timeout=patience):
            raise TimeoutError("Too many people look at this page at once: come again in a few seconds")
        try:
            with open_warehouse() as connection:
                yield connection
        finally:
            places.release()

    return asking

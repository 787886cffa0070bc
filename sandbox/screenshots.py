"""`make screenshots`: the page in Airflow's UI, light and dark, as the README shows it.

A sandbox of its own, in a temporary folder: a made-up day, then real runs. Look at the pictures before they are
committed: what is in them depends on the time of the day.
"""

from __future__ import annotations

import atexit
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, ViewportSize, sync_playwright
from rich.console import Console

from sandbox import airflow, events, forms, report, servers
from sandbox.environment import airflow_environment
from sandbox.history import write_history
from sandbox.shared import count_shared_once

INTO = servers.PROJECT / "docs"
THEMES = ("light", "dark")
SIZE = ViewportSize(width=1440, height=1150)
MOST_COLOURS = 256
RUNS_OF_A_DAY = 288
READY = """
select
    exists (select from login_etl.batches where batch_id > %s)
    and not exists (select from login_etl.batches where merged_at is null)
    and exists (select from login_etl.shared_masks)
"""

console = Console(stderr=True, highlight=False)


def take(into: Path, browser: Browser) -> None:
    """Fill a warehouse, start Airflow, and write a picture of each theme into the folder."""
    home = Path(tempfile.mkdtemp(prefix="screenshots-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)  # the embedded Postgres still writes there at our exit
    with servers.servers(home) as local:
        environment = airflow_environment(local, port=servers.free_port(8080))
        airflow.migrate_metadata(environment)
        console.print("A first run makes the tables …")
        _send(local, forms.forms())
        _send(local, events.sample_events(200, seed=1))
        airflow.test_dag("user_logins", environment, home / "test.log")
        with local.connect() as warehouse:
            write_history(
                warehouse,
                days=1,
                batches=2 * RUNS_OF_A_DAY,
                logins=90,
                logins_a_reject=50,
                queue=local.queue_url,
            )
        console.print("Airflow runs the next one …")
        newest = report.last_batch(local)
        _send(local, events.sample_events(300, seed=2))
        with airflow.components(environment):
            address = environment["AIRFLOW__API__BASE_URL"]
            count_shared_once(local, address)
            _wait(local, newest)
            for theme in THEMES:
                _photograph(browser, f"{address}/plugin/user-logins", theme, into / f"page-{theme}.png")


def _send(local: servers.Servers, bodies: Iterator[str]) -> None:
    events.send(local.client(), local.queue_url, bodies)


def _wait(local: servers.Servers, newest: int, *, seconds: float = 300) -> None:
    """Wait until batches after that one are merged, and shared masks counted; RuntimeError where that takes longer."""
    deadline = time.monotonic() + seconds
    with local.connect() as warehouse:
        while warehouse.execute(READY, [newest]).fetchall() != [(True,)]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"Airflow has run nothing for {seconds:.0f} seconds")
            time.sleep(1)


def _photograph(browser: Browser, url: str, theme: str, path: Path) -> None:
    with browser.new_context(viewport=SIZE) as context:
        context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        tab = context.new_page()
        tab.goto(url)
        tab.frame_locator("iframe").locator("details").wait_for()
        tab.wait_for_load_state("networkidle")
        with Image.open(BytesIO(tab.screenshot())) as picture:
            picture.quantize(MOST_COLOURS).save(path, optimize=True)  # a third of what Chromium writes
    console.print(f"[green]✓[/green] {path}")


def main() -> None:
    """Find Chromium, and take the pictures."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    if (chromium := shutil.which("chromium")) is None:
        sys.exit("The pictures are taken with chromium, which is not installed (Debian: apt install chromium)")
    try:
        with sync_playwright() as playwright:
            options = ["--no-sandbox", "--no-proxy-server", "--disable-background-networking"]
            browser = playwright.chromium.launch(executable_path=chromium, args=options)
            take(INTO, browser)
            browser.close()
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        console.print("Stopped.")


if __name__ == "__main__":
    main()

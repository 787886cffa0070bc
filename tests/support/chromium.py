"""Debian's Chromium without a window, driven by Playwright."""

from contextlib import contextmanager

from playwright.sync_api import sync_playwright

from tests.support.programs import installed


@contextmanager
def chromium():
    """A browser; without Chromium the test is skipped by its name."""
    path = installed("chromium")
    # It asks nobody but the server of the test: a machine may be offline.
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--no-proxy-server", *quiet])
        yield browser
        browser.close()


def tab_of(browser, address, name, password):
    """A tab, in a profile of its own, in which somebody has logged in to Airflow."""
    context = browser.new_context(viewport={"width": 1500, "height": 1100}, locale="en")
    context.set_default_timeout(60_000)
    tab = context.new_page()
    tab.goto(f"{address}/auth/login")
    fill_in_login(tab, name, password)
    tab.get_by_text("Browse", exact=True).wait_for()
    return tab


def fill_in_login(tab, name, password):
    """The form of the laptop's auth manager."""
    tab.fill("input[name=username]", name)
    tab.fill("input[name=password]", password)
    tab.click("button[type=submit]")

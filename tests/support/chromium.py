"""Debian's Chromium without a window, driven by Playwright."""

import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright


@contextmanager
def chromium():
    """A browser; without Chromium the test is skipped by its name."""
    if (path := shutil.which("chromium")) is None:
        pytest.skip("chromium is not installed (Debian: apt install chromium)")
    # It asks nobody but the server of the test: a machine may be offline.
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--no-proxy-server", *quiet])
        yield browser
        browser.close()

"""Chromium without a window, by its DevTools protocol: what a person sees, and clicks."""

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager

import pytest
from websockets.sync.client import connect

PATIENCE = 60
BUTTON = "[...document.querySelectorAll('button')].find(button => button.innerText.trim() === {label!r})"


class Browser:
    """One tab."""

    def __init__(self, socket):
        self._socket = socket
        self._number = 0
        self.requested = []
        self._do("Network.enable")
        self._do("Page.enable")

    def open(self, url):
        self._do("Page.navigate", url=url)

    def read(self):
        """All text on the page."""
        return self.evaluate("document.body ? document.body.innerText : ''")

    def wait_for(self, text):
        self._wait(lambda: text in self.read(), text)

    def click(self, label):
        button = BUTTON.format(label=label)
        self._wait(lambda: self.evaluate(f"Boolean({button}) && !{button}.disabled"), label)
        self.evaluate(f"{button}.click()")

    def log_in(self, address, person):
        """As somebody else than before."""
        self._do("Network.clearBrowserCookies")
        self.open(f"{address}/auth/login")
        for name in ("username", "password"):
            field = f"document.querySelector('input[name={name}]')"
            self._wait(lambda field=field: self.evaluate(f"Boolean({field})"), name)
            self.evaluate(f"{field}.focus()")
            self._do("Input.insertText", text=getattr(person, name.replace("user", "")))
        self.click("Sign in")
        self._wait(lambda: "/login" not in self.evaluate("location.pathname"), "the home page")

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self._do("Page.captureScreenshot")["data"]))

    def evaluate(self, expression):
        return self._do("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def _wait(self, is_there, what):
        deadline = time.monotonic() + PATIENCE
        while not is_there():
            assert time.monotonic() < deadline, f"no {what!r} on the page:\n{self.read()}"
            time.sleep(0.2)

    def _do(self, method, **params):
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            said = json.loads(self._socket.recv(PATIENCE))
            if said.get("method") == "Network.requestWillBeSent":
                self.requested.append(said["params"]["request"]["url"])
            if said.get("id") == self._number:
                return said["result"]


@contextmanager
def chromium(home):
    """A browser whose profile is in `home`; without Chromium the test is skipped."""
    if (path := shutil.which("chromium")) is None:
        pytest.skip("chromium is not installed (Debian: apt install chromium)")
    options = ["--headless=new", "--no-sandbox", "--no-proxy-server", "--window-size=1400,1000", "--lang=en"]
    command = [path, *options, f"--user-data-dir={home}", "--remote-debugging-port=0", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with connect(_tab(home / "DevToolsActivePort"), max_size=None, proxy=None) as socket:
                yield Browser(socket)
        finally:
            process.terminate()


def _tab(note):
    deadline = time.monotonic() + PATIENCE
    while not note.exists() or not note.read_text().strip():
        assert time.monotonic() < deadline, "chromium does not start"
        time.sleep(0.1)
    with urllib.request.urlopen(f"http://127.0.0.1:{note.read_text().split()[0]}/json/list", timeout=10) as answer:
        return next(each["webSocketDebuggerUrl"] for each in json.load(answer) if each["type"] == "page")

"""Servers that the machine's package manager brings, and pip does not."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest


def installed(program, package=None):
    """The path of the program, which Debian's package, of the same name unless given, brings.

    Without it the test is skipped, or fails where CI is set.
    """
    path = shutil.which(program, path=os.pathsep.join((os.environ["PATH"], "/usr/sbin")))
    if path is None:
        missing = pytest.fail if "CI" in os.environ else pytest.skip
        missing(f"{program} is not installed (Debian: apt install {package or program})")
    return path


@contextmanager
def running(*command, port, log):
    """The server that the command starts; it takes connections on 127.0.0.1:`port`, and ends with the block."""
    program, *arguments = command
    path = installed(program)
    with log.open("wb") as output, subprocess.Popen([path, *arguments], stdout=output, stderr=output) as process:
        try:
            _wait_until_it_listens(process, port, log)
            yield
        finally:
            process.terminate()


def _wait_until_it_listens(process, port, log):
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return

"""Servers of the Postgres versions that this machine has besides the sandbox's."""

import os
import pwd
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = {path.parent.name: path for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))}
VERSIONS = [*PROGRAMS] or [pytest.param("", marks=pytest.mark.skip("no postgresql-* is installed (Debian)"))]


@contextmanager
def postgres(version):
    """A new server of this version, with a superuser `postgres`: the folder of its Unix socket."""
    programs = PROGRAMS[version]
    user = {}
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:  # as which no Postgres runs
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        data = Path(folder) / "data"
        initdb = ["initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"]
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        start = ["pg_ctl", "-w", "-D", str(data), "-o", options, "-l", f"{folder}/log", "start"]
        for program, *arguments in (initdb, start):
            subprocess.run([programs / program, *arguments], check=True, stdout=subprocess.DEVNULL, cwd="/", **user)
        try:
            yield folder
        finally:
            stop = [programs / "pg_ctl", "-w", "-m", "fast", "-D", str(data), "stop"]
            subprocess.run(stop, check=True, stdout=subprocess.DEVNULL, cwd="/", **user)

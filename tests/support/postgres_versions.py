"""Servers of the Postgres versions that this machine has besides the sandbox's."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.clusters import cluster

PROGRAMS = {path.parent.name: path for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))}
VERSIONS = [*PROGRAMS] or [pytest.param("", marks=pytest.mark.skip("no postgresql-* is installed (Debian)"))]


@contextmanager
def postgres(version):
    """A new server of this version, with a superuser `postgres`: the folder of its Unix socket."""
    with cluster(PROGRAMS[version]) as server:
        server.make()
        server.start()
        yield server.folder

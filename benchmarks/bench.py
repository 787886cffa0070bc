"""What all figures share: the servers they ask, processes that start alike, and medians."""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
import psycopg
from botocore.config import Config

from benchmarks.sqs_stub import Stub, sqs_stub
from include.connections import BOTOCORE
from include.events.message import Origin, Run
from include.privacy.masking import Keyring, read_keyring
from include.sqs.lean import make_lean
from include.sqs.plan import MAX_THREADS
from include.sqs.reading import read_in_turn
from include.warehouse.setup import prepare_warehouse
from sandbox.environment import airflow_environment
from sandbox.servers import RIGHTS, Servers, servers

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

ROUND_TRIP = 0.015  # seconds, as from a machine in the same AWS region

Prepare = Callable[[], AbstractContextManager[Callable[[], object]]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece of work took: wall and CPU seconds of its process, and that process's peak memory in KiB."""

    started: float
    ended: float
    cpu: float
    peak: int

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started


@dataclass(frozen=True, slots=True)
class Bench:
    """The running servers. `quick` asks for tiny sizes, whose figures mean nothing."""

    local: Servers
    stub: Stub
    quick: bool

    def size(self, full: int, quick: int) -> int:
        """A number of messages, rows or rounds."""
        return quick if self.quick else full

    def connect(self, dbname: str = "warehouse") -> psycopg.Connection:
        """A connection as the pipeline has it."""
        connection = self.local.connect(dbname, user="pipeline")
        connection.prepare_threshold = None
        return connection

    def client(self, config: Config = BOTOCORE, *, lean: bool = True) -> SQSClient:
        """The pipeline's client, or another one, with a connection for each of at most MAX_THREADS threads."""
        client: SQSClient = boto3.client(
            "sqs",
            endpoint_url=self.stub.endpoint,
            region_name="us-east-1",
            aws_access_key_id="bench",
            aws_secret_access_key="bench",  # noqa: S106 - it takes any
            config=config.merge(Config(max_pool_connections=2 * MAX_THREADS)),
        )
        if lean:
            make_lean(client)
        read_in_turn(client)
        client.get_queue_attributes(QueueUrl=self.stub.queue_url, AttributeNames=["VisibilityTimeout"])
        return client

    def keyring(self) -> Keyring:
        """The sandbox's masking keys."""
        return read_keyring(self.local.masking_key())

    def empty(self) -> None:
        """Forget all messages and logins in the warehouse."""
        with self.connect() as warehouse:
            warehouse.execute(
                "truncate public.user_logins, login_etl.staging_logins, login_etl.batches, login_etl.rejected_messages"
            )

    def environment(self) -> dict[str, str]:
        """The variables of Airflow's connections, and what an interpreter needs to find the code."""
        whole = airflow_environment(self.local, port=0)
        return {name: value for name, value in whole.items() if name.startswith(("AIRFLOW_CONN_", "no_", "NO_"))}

    def cpu(self, given: str, timed: str) -> float:
        """CPU seconds of `timed` in a new interpreter in which `given` was run before; a quick bench forks this one."""
        # Most of what a new interpreter does is to import Airflow.
        return alone(partial(executing, given, timed)).cpu if self.quick else fresh(given, timed)

    def postgres_cpu(self) -> float:
        """CPU seconds of Postgres so far, with those of the backends that have ended."""
        pid = int((self.local.home / "postgres" / "postmaster.pid").read_text().split()[0])
        postmaster = psutil.Process(pid)
        spent = 0.0
        for process in (postmaster, *postmaster.children()):
            with suppress(psutil.NoSuchProcess):  # a backend that is just ending, whose time the postmaster has now
                spent += sum(process.cpu_times()[:2])
        return spent + sum(postmaster.cpu_times()[2:4])


@contextmanager
def bench(*, quick: bool) -> Iterator[Bench]:
    """Start Postgres, with a warehouse in it, and the stand-in for SQS; stop them and remove their data at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, servers(Path(folder)) as local, sqs_stub() as stub:
        running = Bench(replace(local, sqs=stub.endpoint, queue_url=stub.queue_url), stub, quick)
        os.environ.update(running.environment())
        if not quick:  # to compile all that they import is most of what new interpreters would do there
            # They find compiled modules, as those of an installed project do, wherever ours come from.
            os.environ.update(PYTHONPYCACHEPREFIX=f"{folder}/pycache", PYTHONDONTWRITEBYTECODE="")
        make_warehouse(running, "warehouse")
        yield running


def make_warehouse(bench: Bench, dbname: str) -> None:
    """Bring a database, made where it is missing, to the pipeline's schema."""
    if dbname != "warehouse":
        with bench.local.connect("postgres") as connection:
            connection.execute(f"create database {dbname}".encode())
        with bench.local.connect(dbname) as connection:
            connection.execute(RIGHTS.read_bytes().replace(b"database warehouse", b"database " + dbname.encode()))
    with bench.connect(dbname) as connection:
        prepare_warehouse(connection)


def this_origin(map_index: int = 0) -> Origin:
    """The task that all batches of a benchmark come from."""
    return Origin(Run("user_logins", "benchmark"), map_index, 1, datetime.now(UTC))


def side_by_side(*prepares: Prepare, method: str = "fork") -> list[Cost]:
    """Prepare each piece of work in a process of its own, start them at one moment, and say what each took.

    Clients and connections are made while preparing, which is not counted. A forked process has all
    modules loaded already; a spawned one has no memory but its own.
    """
    context: Any = multiprocessing.get_context(method)
    barrier = context.Barrier(len(prepares))
    processes = []
    for prepare in prepares:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(prepare, barrier, theirs), daemon=True)
        process.start()
        theirs.close()
        processes.append((process, ours))
    costs = []
    for process, pipe in processes:
        try:
            costs.append(pipe.recv())
        except EOFError:
            barrier.abort()
            raise RuntimeError("a measured process failed; what it printed says why") from None
        finally:
            process.join()
    return costs


def alone(prepare: Prepare, method: str = "fork") -> Cost:
    """What one piece of work takes in a process of its own."""
    [cost] = side_by_side(prepare, method=method)
    return cost


def _child(prepare: Prepare, barrier: Any, pipe: Any) -> None:
    with prepare() as work:
        barrier.wait(60)
        started, cpu = time.perf_counter(), time.process_time()
        work()
        cost = Cost(started, time.perf_counter(), time.process_time() - cpu, peak_memory())
    pipe.send(cost)


def peak_memory() -> int:
    """The most resident memory that this process has had, in KiB; getrusage would count the parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def fresh(given: str, timed: str) -> float:
    """CPU seconds that the code `timed` takes in a new interpreter in which `given` was run before."""
    script = f"import json, time\n{given}\nt = time.process_time()\n{timed}\nprint(json.dumps(time.process_time() - t))"
    command = [sys.executable, "-W", "ignore", "-c", script]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(json.loads(output.splitlines()[-1]))


@contextmanager
def executing(given: str, timed: str) -> Iterator[Callable[[], object]]:
    """The code `timed`, after `given`, for `alone`."""
    names: dict[str, object] = {}
    exec(given, names)  # noqa: S102 - code of ours
    yield partial(exec, timed, names)


def interleaved(rounds: int, **variants: Callable[[], float]) -> dict[str, float]:
    """The median of each variant over rounds in which each is measured once."""
    values: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, measure in variants.items():
            values[name].append(measure())
    return {name: statistics.median(taken) for name, taken in values.items()}

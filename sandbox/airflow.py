"""Airflow's own processes: its metadata database, one test run, or all components."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path

import psutil

from sandbox.servers import Servers

NOTE = "components.json"
ENDING_SECONDS = 2
COMPONENTS = {
    "api-server": ["airflow", "api-server"],
    "dag-processor": ["airflow", "dag-processor"],
    # Its log server would listen on every interface; the API server reads the same log files.
    "scheduler": ["airflow", "scheduler", "--skip-serve-logs"],
}


def migrate_metadata(environment: Mapping[str, str]) -> None:
    """Make or upgrade Airflow's metadata database, once for each version of Airflow."""
    home = Path(environment["AIRFLOW_HOME"])
    done = home / f"migrated-{version('apache-airflow')}"
    if not done.exists():
        home.mkdir(parents=True, exist_ok=True)
        _run(["airflow", "db", "migrate"], environment, home / "migrate.log")
        done.touch()


def test_dag(dag_id: str, environment: Mapping[str, str], log: Path | None, *options: str) -> None:
    """`airflow dags test`; its output goes to `log`, or to the terminal where that is None."""
    _run(["airflow", "dags", "test", dag_id, *options], environment, log)


def _run(command: list[str], environment: Mapping[str, str], log: Path | None) -> None:
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb")) if log else None
        subprocess.run(
            command,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT if log else None,
            check=True,
        )


def fail_left_test_runs(servers: Servers, environment: Mapping[str, str]) -> int:
    """Mark test runs as failed whose `airflow dags test` is gone; return how many.

    Nobody else would: a run that stays `running` keeps the scheduler from starting any other of its DAG.
    """
    home = environment["AIRFLOW_HOME"]
    tests = [process for process in psutil.process_iter() if _is_test(process, home)]
    psutil.wait_procs(tests, timeout=ENDING_SECONDS)  # one that was just killed is there for a moment
    if any(_is_test(process, home) for process in tests):
        return 0
    with servers.connect("airflow") as metadata, metadata.transaction():
        left = metadata.execute(
            "update dag_run set state = 'failed', end_date = now() "
            "where triggered_by = 'TEST' and state in ('running', 'queued') returning dag_id, run_id"
        ).fetchall()
        for run in left:
            metadata.execute(
                "update task_instance set state = 'failed', end_date = now() "
                "where dag_id = %s and run_id = %s and end_date is null and state is not null",
                run,
            )
    return len(left)


def _is_test(process: psutil.Process, home: str) -> bool:
    """Whether it is an `airflow dags test` of this Airflow home."""
    try:
        return "dags test" in " ".join(process.cmdline()) and process.environ().get("AIRFLOW_HOME") == home
    except psutil.Error:
        return False


@dataclass(frozen=True, slots=True)
class Running:
    """Components that run, or were left by a process that was killed: theirs and its ids, with their start times."""

    address: str
    starter: tuple[int, float]
    components: list[tuple[int, float]]

    def is_started(self) -> bool:
        """Whether the process that started them, and ends them, is there."""
        return _process(self.starter) is not None

    def stop(self) -> None:
        """End them: let the process that started them do it, or do it where that is gone."""
        if starter := _process(self.starter):
            starter.send_signal(signal.SIGINT)
            starter.wait(60)
        for process in filter(None, map(_process, self.components)):
            _end(process)


def running(home: Path) -> Running | None:
    """The components of a sandbox, as the last start has noted them; None where it has ended them."""
    try:
        noted = json.loads((home / "airflow" / NOTE).read_text())
    except FileNotFoundError:
        return None
    found = Running(noted["address"], tuple(noted["starter"]), [tuple(each) for each in noted["components"]])
    alive = [found.starter, *found.components]
    return found if any(map(_process, alive)) else None


def _process(noted: tuple[int, float]) -> psutil.Process | None:
    """The process of this id, if it is still the one that was noted."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(noted[0])
        if process.create_time() == noted[1] and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


@contextmanager
def components(
    environment: Mapping[str, str], commands: Mapping[str, list[str]] = COMPONENTS, *, seconds: float = 120
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """API server, DAG processor and scheduler, answering; all their processes are gone at the end.

    Yields the processes by component, as `commands` has them; each has a process group of its own. Their
    output is in `$AIRFLOW_HOME/<component>.log`. Raises RuntimeError where one ends by itself while
    starting, or the API server does not answer in time.
    """
    home = Path(environment["AIRFLOW_HOME"])
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(_component(command, environment, home / f"{name}.log"))
            for name, command in commands.items()
        }
        stack.enter_context(_note(environment, processes.values()))
        deadline = time.monotonic() + seconds
        while not _answers(f"{environment['AIRFLOW__API__BASE_URL']}/api/v2/monitor/health"):
            for name, process in processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"airflow {name} ended by itself; see {home / name}.log")
            if time.monotonic() > deadline:
                raise RuntimeError(f"Airflow's API server does not answer; see {home / 'api-server'}.log")
            time.sleep(0.5)
        yield processes


@contextmanager
def _note(environment: Mapping[str, str], processes: Iterable[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Note who runs, for `running`."""
    note = Path(environment["AIRFLOW_HOME"]) / NOTE
    ids = [(each.pid, psutil.Process(each.pid).create_time()) for each in processes]
    starter = (os.getpid(), psutil.Process().create_time())
    note.write_text(
        json.dumps({"address": environment["AIRFLOW__API__BASE_URL"], "starter": starter, "components": ids})
    )
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


@contextmanager
def _component(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # we end it, and its children, ourselves
        )
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            _end(psutil.Process(process.pid))
        process.wait()


def _end(process: psutil.Process) -> None:
    """End a component and all it started: some of its children outlive a SIGTERM to the parent."""
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        family = [*process.children(recursive=True), process]
        os.killpg(process.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=20)
        for survivor in alive:
            with suppress(psutil.NoSuchProcess):
                survivor.kill()
        psutil.wait_procs(alive, timeout=5)


def trigger(address: str, dag_id: str) -> bool:
    """Trigger a run of a DAG in an Airflow where everybody is admin; False where it does not know the DAG yet.

    OSError where it does not answer.
    """
    request = urllib.request.Request(
        f"{address}/api/v2/dags/{dag_id}/dagRuns",
        data=b'{"logical_date": null}',
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30):
            return True
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return False
        raise


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return False

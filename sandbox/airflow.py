"""Airflow's own processes: its metadata database, one test run, or all components."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import psutil

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
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all it started: some of its children outlive a SIGTERM to the parent."""
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        os.killpg(process.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=20)
        for survivor in alive:
            with suppress(psutil.NoSuchProcess):
                survivor.kill()
        psutil.wait_procs(alive, timeout=5)
    process.wait()


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return False

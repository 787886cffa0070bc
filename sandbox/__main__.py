"""The targets of the Makefile: run, ui, seed, env, stop."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import SystemRandom

from dotenv import dotenv_values
from rich.console import Console

from sandbox import airflow, events, forms, report, servers
from sandbox.environment import airflow_environment

HOME = Path(os.environ.get("SANDBOX_HOME", servers.PROJECT / ".sandbox"))  # the tests have one of their own
OWN = ("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AWS_")
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

console = Console(stderr=True, highlight=False)


def run(arguments: argparse.Namespace) -> None:
    """Send sample events, run the DAG once, show what it did."""
    with servers.servers(HOME) as local:
        environment = airflow_environment(local, port=servers.free_port())
        with _step("Preparing Airflow's database"):
            airflow.migrate_metadata(environment)
        _send(local, arguments)
        before = report.last_batch(local)
        log = None if arguments.verbose else Path(environment["AIRFLOW_HOME"]) / "dags-test.log"
        try:
            with _step("Running: airflow dags test user_logins"):
                airflow.test_dag("user_logins", environment, log)
        except subprocess.CalledProcessError:
            if log:
                console.print(log.read_text()[-4_000:], markup=False)
            sys.exit(f"The run failed. Its whole output: {log or 'above'}")
        report.show(local, Console(), since=before)


def ui(arguments: argparse.Namespace) -> None:
    """Run Airflow's components until Ctrl-C."""
    with servers.servers(HOME) as local, ExitStack() as stack:
        environment = _own(airflow_environment(local, port=servers.free_port(8080)))
        with _step("Preparing Airflow's database"):
            airflow.migrate_metadata(environment)
        _send(local, arguments)
        with _step("Starting API server, DAG processor and scheduler"):
            stack.enter_context(airflow.components(environment))
        address = environment["AIRFLOW__API__BASE_URL"]
        console.print(f"\n  Airflow: [bold]{address}/dags/user_logins[/bold]")
        console.print("  More sample events, from another terminal: make seed.  To stop: Ctrl-C\n")
        stack.callback(console.print, "Stopping …")
        signal.pause()


def seed(arguments: argparse.Namespace) -> None:
    """Send more sample events to the running local queue."""
    if not servers.running(HOME):
        sys.exit('The local servers are not running; start them with make ui, or eval "$(make -s env)"')
    _send(servers.start(HOME), arguments)


def env(arguments: argparse.Namespace) -> None:
    """Print the exports for a shell that works against the local servers, which stay up."""
    with _step("Starting Postgres and the SQS server; make stop ends them"):
        environment = _own(airflow_environment(servers.start(HOME), port=servers.free_port(8080)))
    with _step("Preparing Airflow's database"):
        airflow.migrate_metadata(environment)
    for name, value in environment.items():
        print(f"export {name}={shlex.quote(value)}")


def stop(arguments: argparse.Namespace) -> None:
    """Stop the local servers."""
    servers.stop(HOME)


def _own(environment: dict[str, str]) -> dict[str, str]:
    """The environment with the user's own queue, database and keys, where `.env` has them; the rest is for Docker."""
    dotenv = dotenv_values(servers.PROJECT / ".env").items()
    own = {name: value for name, value in dotenv if value and name.startswith(OWN)}
    if own:
        console.print(f"Using .env for {', '.join(sorted(own))}")
    return environment | own


def _send(local: servers.Servers, arguments: argparse.Namespace) -> None:
    if arguments.events:
        seed = SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
        with _step(f"Sending {arguments.events} sample events (seed {seed})"):
            events.send(local.client(), local.queue_url, events.sample_events(arguments.events, seed))
    if arguments.forms:
        with _step("Sending a login in each form that is known, and what is none"):
            events.send(local.client(), local.queue_url, forms.forms())


@contextmanager
def _step(title: str) -> Iterator[None]:
    started = time.monotonic()
    with console.status(f"{title} …"):
        yield
    console.print(f"[green]✓[/green] {title} [dim]{time.monotonic() - started:.1f} s[/dim]")


def _interrupt(*_: object) -> None:
    """Whatever ends us, what we started is stopped first; a second Ctrl-C must not break that off."""
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Parse the command line and run one command."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for command in (run, ui, seed, env, stop):
        sub = commands.add_parser(command.__name__, help=command.__doc__)
        sub.set_defaults(command=command)
        if command in (run, ui, seed):
            sub.add_argument("--events", type=events.number_of_events, default=100)
            sub.add_argument("--seed", type=int, help="the same seed gives the same events")
            sub.add_argument("--forms", action="store_true", help="also send a login in each form that is known")
        if command is run:
            sub.add_argument("--verbose", action="store_true", help="show Airflow's own output")
    arguments = parser.parse_args()
    for ending in ENDINGS:
        signal.signal(ending, _interrupt)
    try:
        arguments.command(arguments)
    except KeyboardInterrupt:
        console.print("Stopped.")
    except RuntimeError as error:
        sys.exit(str(error))


main()

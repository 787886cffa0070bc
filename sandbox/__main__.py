"""The targets of the Makefile: run, ui, seed, env, doctor, psql, stop, clean."""

from __future__ import annotations

import argparse
import atexit
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import SystemRandom

from dotenv import dotenv_values
from rich.console import Console

from sandbox import airflow, events, forms, report, servers
from sandbox.environment import airflow_environment
from sandbox.own import AWS, DATABASE, KEYS, PROFILES, QUEUE, fault, libpq_environment, unknown
from sandbox.shared import MAINTENANCE, count_shared_once

HOME = Path(os.environ.get("SANDBOX_HOME", servers.PROJECT / ".sandbox"))  # the tests have one of their own
OWN = ("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AWS_")
PAGE = "/plugin/user-logins"
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

console = Console(stderr=True, highlight=False)


def run(arguments: argparse.Namespace) -> None:
    """Send sample events, run the DAG once, show what it did."""
    _forget_profile({})
    with servers.servers(HOME) as local:
        environment = airflow_environment(local, port=servers.free_port())
        _prepare(local, environment)
        _send(local, arguments)
        before = report.last_batch(local)
        log = None if arguments.verbose else Path(environment["AIRFLOW_HOME"]) / "dags-test.log"
        try:
            with _step("Running: airflow dags test user_logins"):
                airflow.test_dag("user_logins", environment, log)
        except KeyboardInterrupt:
            airflow.fail_left_test_runs(local, environment)
            raise
        except subprocess.CalledProcessError:
            if log:
                console.print(log.read_text()[-4_000:], markup=False)
            sys.exit(f"The run failed. Its whole output: {log or 'above'}")
        report.show(local, Console(), since=before)


def ui(arguments: argparse.Namespace) -> None:
    """Run Airflow's components until Ctrl-C."""
    own = _own()
    _end_left_components()
    with servers.servers(HOME) as local, ExitStack() as stack:
        environment = airflow_environment(local, port=servers.free_port(8080)) | own
        _prepare(local, environment)
        if QUEUE in own:
            console.print(f"No sample events are sent: .env names a queue of your own, {own[QUEUE]}")
        else:
            _send(local, arguments)
        with _step("Starting API server, DAG processor and scheduler"):
            stack.enter_context(airflow.components(environment))
        address = environment["AIRFLOW__API__BASE_URL"]
        if not address.endswith(":8080"):
            console.print("Port 8080 is taken by something else")
        console.print(f"\n  Airflow: [bold]{address}/dags/user_logins[/bold]")
        console.print(f"  How it goes: [bold]{address}{PAGE}[/bold]")
        more = "" if QUEUE in own else "More sample events, from another terminal: make seed.  "
        console.print(f"  {more}To stop: Ctrl-C\n")
        stack.callback(console.print, "Stopping …")
        if DATABASE not in own and count_shared_once(local, address):
            console.print(f"Triggered {MAINTENANCE}, which counts who shares devices and addresses")
        signal.pause()


def seed(arguments: argparse.Namespace) -> None:
    """Send more sample events to the running local queue, and let the Airflow of `ui` drain them."""
    if queue := _own().get(QUEUE):
        sys.exit(f"Nothing is sent: .env names a queue of your own, {queue}; sample events go to the local one only")
    if not servers.running(HOME):
        sys.exit('The local servers are not running; start them with make ui, or eval "$(make -s env)"')
    _send(servers.start(HOME), arguments)
    found = airflow.running(HOME)
    if found and found.is_started():
        _let_them_be_drained(found.address)


def env(arguments: argparse.Namespace) -> None:
    """Print the exports for a shell that works against the local servers, which stay up."""
    before = dict(os.environ)
    own = _own()
    with _step("Starting Postgres and the SQS server; make stop ends them"):
        local = servers.start(HOME)
    environment = airflow_environment(local, port=servers.free_port(8080)) | own
    _prepare(local, environment)
    for name in before.keys() - os.environ.keys():
        print(f"unset {name}")
    for name, value in environment.items():
        print(f"export {name}={shlex.quote(value)}")


def doctor(arguments: argparse.Namespace) -> None:
    """Check what a run needs, as it would, and change nothing: the local servers, or what .env names."""
    own = _own()
    with servers.servers(HOME) as local:
        environment = airflow_environment(local, port=servers.free_port()) | own
        command = [sys.executable, "-m", "include.doctor"]
        done = subprocess.run(command, env=os.environ | environment, cwd=servers.PROJECT, check=False)
    sys.exit(done.returncode)


def psql(arguments: argparse.Namespace) -> None:
    """Open psql on the warehouse: the connection of `.env`, or the sandbox's."""
    command = [str(servers.PSQL), *(["--command", arguments.sql] if arguments.sql else [])]
    with ExitStack() as stack:
        if own := _dotenv().get(DATABASE):
            if malformed := fault({DATABASE: own, KEYS: "any"}, throw_away_key=""):
                raise RuntimeError(malformed)
            environment = libpq_environment(own)
        else:
            local = stack.enter_context(servers.servers(HOME))
            environment = {"PGHOST": local.postgres, "PGUSER": "pipeline", "PGDATABASE": "warehouse"}
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # psql has a use of its own for Ctrl-C
        sys.exit(subprocess.run(command, env=os.environ | environment, check=False).returncode)


def stop(arguments: argparse.Namespace) -> None:
    """Stop the local servers, and Airflow where it runs."""
    if found := airflow.running(HOME):
        found.stop()
    servers.stop(HOME)


def clean(arguments: argparse.Namespace) -> None:
    """Stop the local servers and delete their data."""
    own = _dotenv()
    console.print(f"This deletes {HOME}: the local queue and databases, Airflow's runs and logs, and the masking key")
    if (HOME / "secrets" / "masking_key").exists() and own.get(DATABASE) and not own.get(KEYS):
        console.print(
            f"[bold]The masking key may be in use[/bold]: .env names a database of your own, and no {KEYS}. Without "
            f"the key no later mask matches one that is stored there. It is in {HOME / 'secrets' / 'masking_key'}."
        )
        if not sys.stdin.isatty() or console.input("Type [bold]delete[/bold] to delete it: ") != "delete":
            sys.exit("Nothing is deleted. Put the key into .env first, or run make clean in a terminal and confirm")
    atexit.register(shutil.rmtree, HOME, ignore_errors=True)  # the embedded Postgres still writes there at our exit
    stop(arguments)


def _own() -> dict[str, str]:
    """The user's own queue, database and keys, where `.env` has them; RuntimeError for half of what is needed."""
    own = _dotenv()
    if own:
        console.print(f"Using .env for {', '.join(sorted(own))}")
    if missing := fault(own, throw_away_key=f"in {HOME / 'secrets' / 'masking_key'}"):
        raise RuntimeError(missing)
    if names := unknown(own):
        console.print(f"Nothing here uses {', '.join(names)}: is the name right?")
    if own.get(DATABASE) and QUEUE not in own:
        console.print("[bold].env names no queue: events of the local one are loaded into the database of .env[/bold]")
    _forget_profile(own)
    return own


def _forget_profile(own: Mapping[str, str]) -> None:
    """Drop the shell's AWS profile where the local queue is used: it needs none, and one that is gone is an error."""
    if AWS not in own:
        for name in PROFILES:
            os.environ.pop(name, None)


def _dotenv() -> dict[str, str]:
    """What of `.env` is for Airflow; the rest is for Docker."""
    dotenv = dotenv_values(servers.PROJECT / ".env").items()
    return {name: value for name, value in dotenv if value and name.startswith(OWN)}


def _end_left_components() -> None:
    """Exit where Airflow runs already; end what a process left that was killed."""
    found = airflow.running(HOME)
    if found and found.is_started():
        sys.exit(f"Airflow is already running at {found.address}/dags/user_logins; make stop ends it")
    if found:
        with _step("Ending what an earlier make ui has left"):
            found.stop()


def _prepare(local: servers.Servers, environment: dict[str, str]) -> None:
    """Make Airflow's database ready."""
    with _step("Preparing Airflow's database"):
        airflow.migrate_metadata(environment)
    if left := airflow.fail_left_test_runs(local, environment):
        console.print(f"{left} test run{'s' if left > 1 else ''} of before, never ended, marked as failed")


def _send(local: servers.Servers, arguments: argparse.Namespace) -> None:
    if arguments.events:
        seed = SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
        with _step(f"Sending {arguments.events} sample events (seed {seed})"):
            events.send(local.client(), local.queue_url, events.sample_events(arguments.events, seed))
    if arguments.forms:
        with _step("Sending a login in each form that is known, and what is none"):
            events.send(local.client(), local.queue_url, forms.forms())


def _let_them_be_drained(address: str) -> None:
    """Trigger the DAG in the Airflow that runs; where that cannot be, its schedule does it."""
    try:
        is_triggered = airflow.trigger(address, "user_logins")
    except OSError:
        is_triggered = False
    said = "Triggered user_logins" if is_triggered else "user_logins takes them within five minutes"
    console.print(f"{said}: {address}{PAGE}")


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
    for command in (run, ui, seed, env, doctor, psql, stop, clean):
        sub = commands.add_parser(command.__name__, help=command.__doc__)
        sub.set_defaults(command=command)
        if command in (run, ui, seed):
            sub.add_argument("--events", type=events.number_of_events, default=100)
            sub.add_argument("--seed", type=int, help="the same seed gives the same events")
            sub.add_argument("--forms", action="store_true", help="also send a login in each form that is known")
        if command is psql:
            sub.add_argument("--sql", help="a statement to run, instead of asking for some")
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

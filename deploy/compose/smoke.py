"""Load events into a stack of its own, crash it in the middle, and see that nothing is lost or doubled: make smoke.

It needs Docker and Python, nothing else: no .venv, and no .env, which it does not read.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.events import sample_events

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "user_logins_smoke"
PORTS = dict.fromkeys(("AIRFLOW_PORT", "SQS_PORT", "WAREHOUSE_PORT"), "0")  # any that are free
FIRST, SECOND = (300, 1), (2_000, 2)  # loads: how many events, and the seed that they are made from
HIDDEN = 125  # seconds; a drain hides what it receives for 120
# A lost task is missed after 20 s here instead of 300, also by a new scheduler.
SETTINGS = """
AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL=20
AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT=20
AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL=5
"""
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
DRAINED = "select sum(received) from login_etl.batches"
FOUND = "select (select count(*) from user_logins) + (select count(*) from login_etl.rejected_messages)"
REJECTED = "select count(*) from login_etl.rejected_messages"
UNBALANCED = "select count(unbalanced_batches) from login_etl.history"
HISTORY = "select run_id, batches, received, inserted, already_there, unbalanced_batches from login_etl.history"
ROWS = """
select left(user_id, 8) || '…' as user_id, device_type, left(masked_ip, 20) || '…' as masked_ip,
    left(masked_device_id, 20) || '…' as masked_device_id, locale, app_version, create_date
from user_logins order by user_id limit 5
"""


class Stack:
    """The containers of a project of its own, beside those of `docker compose up`."""

    def __init__(self, settings: Path, *, celery: bool, image: bool) -> None:
        files = ["docker-compose.yaml"]
        files += ["deploy/compose/celery.yaml"] if celery else []
        files += ["deploy/image/compose.yaml"] if image else []
        files += ["deploy/image/compose-celery.yaml"] if celery and image else []
        self.command = ["docker", "compose", "--project-name", PROJECT, "--env-file", str(settings)]
        self.command += [f"--file={file}" for file in files]
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
        self.environment |= PORTS | {"USER_LOGINS_ENV_FILE": str(settings)}
        self.workers = ["--scale=worker=2"] if celery else []

    def compose(self, *arguments: str) -> str:
        """What `docker compose` prints; RuntimeError, with its last words, where it fails."""
        done = subprocess.run(
            [*self.command, *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"docker compose {' '.join(arguments)} failed:\n{done.stderr[-3_000:]}")
        return done.stdout

    def up(self) -> None:
        """Start what is not running, and wait until all of it is healthy."""
        self.compose("up", "--wait", *self.workers)

    def restart(self) -> None:
        """Restart everything but the queue, which is in memory; SQS's own has no restarts."""
        services = self.compose("ps", "--services", "--all").split()
        self.compose("restart", *(name for name in services if name not in {"sqs", "keys", "migrate", "privacy"}))
        self.up()

    def remove(self) -> None:
        """Remove the containers and their data."""
        self.compose("down", "--volumes", "--remove-orphans")

    def table(self, statement: str) -> str:
        """The answer of the warehouse, for people."""
        return self.compose("exec", "-T", "warehouse", "psql", "--username=pipeline", "warehouse", "-c", statement)

    def values(self, statement: str) -> list[str]:
        """The answer of the warehouse, line by line."""
        command = ("exec", "-T", "warehouse", "psql", "--username=pipeline", "warehouse", "-Atc", statement)
        return self.compose(*command).splitlines()

    def number(self, statement: str) -> int:
        """The one number that the warehouse answers with; 0 while no run has made the tables yet."""
        try:
            return int(self.values(statement)[0] or 0)
        except RuntimeError as error:
            if "does not exist" in str(error):
                return 0
            raise

    def seed(self, events: int, *options: str) -> int:
        """Send sample events; how many messages are on the queue then, in flight or not."""
        answer = self.compose("run", "--rm", "seed", str(events), *options)
        return sum(int(number.replace(",", "")) for number in re.findall(r"([\d,]+) (?:waiting|in flight)", answer))

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What Airflow's REST API answers; a body is posted."""
        address = self.compose("port", "api-server", "8080").strip()
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{address}/api/v2/dags/user_logins/{path}", data, headers)
        with DIRECTLY.open(request, timeout=30) as answer:
            return json.load(answer)

    def trigger(self) -> None:
        """Trigger the DAG."""
        self.ask("dagRuns", {"logical_date": None})

    def kill_what_drains(self) -> str:
        """SIGKILL the container in which a drain is running, and all its processes with it; its name."""
        running = self.ask("dagRuns/~/taskInstances?state=running")["task_instances"]
        hosts = {task["hostname"] for task in running if task["task_id"] == "drain_and_mask"}
        check("containers that drain", len(hosts), 1)
        [host] = hosts
        name = subprocess.run(
            ["docker", "inspect", "--format={{.Name}}", host], capture_output=True, text=True, check=True
        ).stdout.strip("/\n")
        subprocess.run(["docker", "kill", "--signal=KILL", host], capture_output=True, check=True)
        return name


def smoke(stack: Stack) -> None:
    """RuntimeError, or what urllib and subprocess raise, where anything is not as promised."""
    with step("Starting all of it, until it is healthy"):
        stack.up()
    with step(f"Loading {FIRST[0]:,} events"):
        stack.seed(FIRST[0], f"--seed={FIRST[1]}")
        stack.trigger()
        wait_until(lambda: stack.number(FOUND) >= FIRST[0], 180)
    sent = FIRST[0] + SECOND[0]
    with step(f"Loading {SECOND[0]:,} more, until some are drained"):
        stack.seed(SECOND[0], f"--seed={SECOND[1]}")
        stack.trigger()
        wait_until(lambda: stack.number(DRAINED) > FIRST[0], 180)
    with step("Killing the container that drains them") as note:
        note.append(stack.kill_what_drains())
        killed = time.monotonic()
        drained = stack.number(DRAINED)
        note.append(f"{drained - FIRST[0]:,} of {SECOND[0]:,} had been drained")
        if drained >= sent:
            raise RuntimeError("the load was over before the container was killed")
    with step("Restarting everything but the queue"):
        stack.restart()
    with step(f"Waiting {HIDDEN} s, until SQS shows again what was in flight, and for a run that takes it"):
        time.sleep(max(0, killed + HIDDEN - time.monotonic()))
        stack.trigger()
        wait_until(lambda: stack.number(FOUND) >= sent, 600)
    with step("Waiting until nothing is left on the queue"):
        # What was received and not deleted is left to the next scheduled run.
        wait_until(lambda: stack.seed(0) == 0, 420)
    with step("Comparing the table with what was sent"):
        events = [json.loads(body) for load in (FIRST, SECOND) for body in sample_events(*load)]
        logins = Counter(event["user_id"] for event in events if "user_id" in event)
        loaded = Counter(stack.values("select user_id from user_logins"))
        check("users in user_logins, each as often as sent", loaded, logins)
        check("rejected messages", stack.number(REJECTED), sent - logins.total())
        check("batches whose counts contradict each other", stack.number(UNBALANCED), 0)
    print(f"\n{stack.table(HISTORY)}\n{stack.table(ROWS)}")
    counts = f"{sent:,} sent, {logins.total():,} in user_logins, {sent - logins.total()} rejected"
    print(f"Nothing lost, nothing doubled: {counts}.")


@contextmanager
def step(title: str) -> Iterator[list[str]]:
    """Show what is done now; then how long it took, and what was noted."""
    again = "\r" if sys.stdout.isatty() else ""
    print(f"… {title}", end="" if again else "\n", flush=True)
    started = time.monotonic()
    notes: list[str] = []
    yield notes
    print(f"{again}✓ {title}: {time.monotonic() - started:.0f} s", *notes, sep="; ", flush=True)


def wait_until(there: Callable[[], bool], seconds: float) -> None:
    """RuntimeError where it is not so in time."""
    deadline = time.monotonic() + seconds
    while not there():
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing changed within {seconds} s")
        time.sleep(0.5)


def check(what: str, found: object, expected: object) -> None:
    """RuntimeError, with both, where they differ."""
    if found != expected:
        raise RuntimeError(f"{what}: {str(found)[:500]}, not {str(expected)[:500]}")


def main() -> None:
    """Run it; whatever happens, nothing of it stays."""
    parser = argparse.ArgumentParser(prog="make smoke", description=__doc__)
    parser.add_argument("--celery", action="store_true", help="with two Celery workers instead of LocalExecutor")
    parser.add_argument("--image", action="store_true", help="with the image of deploy/image instead of mounts")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it ends as by Ctrl-C, with nothing left
    with tempfile.NamedTemporaryFile("w", suffix=".env") as settings:
        settings.write(SETTINGS)
        settings.flush()
        stack = Stack(Path(settings.name), celery=arguments.celery, image=arguments.image)
        executor = "CeleryExecutor, two workers" if arguments.celery else "LocalExecutor"
        code = "the image of deploy/image" if arguments.image else "this folder, mounted"
        print(f"{executor}; {code}; project {PROJECT}", flush=True)
        stack.remove()
        try:
            smoke(stack)
        except KeyboardInterrupt:
            sys.exit("\nStopped.")
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            print(f"\n\n{stack.compose('logs', '--no-color', '--tail=30')}", file=sys.stderr)
            sys.exit(f"✗ {error}")
        finally:
            with step("Removing it"):
                stack.remove()


if __name__ == "__main__":
    main()

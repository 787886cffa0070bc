"""`make demo-privacy`: a key is changed and a person forgotten, as a story that a person can follow.

It has servers of its own, in a folder of its own, which the next time begins with; what it has made can be looked at
there until then.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from sandbox import airflow, servers
from sandbox.environment import airflow_environment
from sandbox.events import sample_events, send

HOME = Path(os.environ.get("SANDBOX_HOME", servers.PROJECT / ".sandbox")) / "demo-privacy"
MASKING = "AIRFLOW_CONN_PII_MASKING"
EVENTS, SEED = 100, 7
HOURS_12 = 43_200
PEOPLE = {"officer": "privacy_officer", "auditor": "privacy_auditor"}
WHO = "select user_id, count(*) from public.user_logins where masked_device_id = %s group by user_id order by user_id"
DEVICE = "select masked_device_id from public.user_logins group by 1 having count(distinct user_id) = 5"
COUNTS = "select count(*), count(user_id), count(*) - count(user_id), count(distinct masked_device_id) from user_logins"

console = Console(highlight=False, width=110)


class Demo:
    """The servers, and what the story says of them."""

    def __init__(self, local: servers.Servers) -> None:
        self.local = local
        self.environment = airflow_environment(local, port=servers.free_port())
        self.steps = 0

    def step(self, title: str, *lines: str) -> None:
        """A part of the story begins."""
        self.steps += 1
        console.print(f"\n[bold]{self.steps} · {title}[/bold]")
        for line in lines:
            console.print(f"    {line}", markup=False)

    def run_dag(self, dag_id: str, **params: Any) -> None:
        """Run a DAG once, and show how; RuntimeError, with the end of its output, where it fails."""
        options = ["--conf", json.dumps(params)] if params else []
        console.print(
            f"    $ airflow dags test {' '.join([dag_id, *options])}", style="dim", markup=False, soft_wrap=True
        )
        log = HOME / "dags-test.log"
        with console.status("running …"):
            try:
                airflow.test_dag(dag_id, self.environment, log, *options)
            except subprocess.CalledProcessError:
                raise RuntimeError(f"{log.read_text()[-4_000:]}\n{dag_id} failed; its output is in {log}") from None

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the warehouse, as its superuser."""
        with self.local.connect() as warehouse:
            return warehouse.execute(query.encode(), values).fetchall()

    def privacy(self, person: str, *arguments: str, given: str = "") -> str:
        """What `python -m include.privacy` says to a person, whatever that is."""
        command = f"    {person} $ python -m include.privacy {' '.join(arguments)}"
        console.print(command, style="dim", markup=False, soft_wrap=True)
        done = subprocess.run(
            [sys.executable, "-m", "include.privacy", *arguments],
            cwd=servers.PROJECT,
            env=os.environ | self.local.libpq_environment(person),
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        said = (done.stdout + done.stderr).strip()
        for line in said.splitlines():
            console.print(f"      {line}", markup=False)
        return said

    def table(self, headers: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        """Some rows."""
        table = Table(*headers)
        for row in rows:
            table.add_row(*("" if cell is None else str(cell) for cell in row))
        console.print(table)

    def device(self) -> tuple[str, list[str]]:
        """The mask of the device that five users share, and who they are."""
        [(mask,)] = self.ask(DEVICE)
        return mask, [user for user, _ in self.ask(WHO, mask)]

    def users(self, title: str, mask: str) -> list[str]:
        """Show who has the device with this mask; return who they are."""
        rows = self.ask(WHO, mask)
        console.print(f"    {title}: {mask[:24]}…")
        self.table(("user", "logins with it"), rows)
        return [user for user, _ in rows]


def tell(demo: Demo) -> None:
    """The story; RuntimeError where it does not come out as told."""
    bodies = list(sample_events(EVENTS, SEED))
    device, eva, hers = _shared_device(bodies)
    client, url = demo.local.client(), demo.local.queue_url

    demo.step(
        "Load",
        f"{EVENTS} messages are on the queue, one of them no login. One more, of a user we call Eva, was received by a",
        "consumer that crashed: SQS will show it again, much later.",
    )
    send(client, url, iter([hers]))
    [late] = client.receive_message(QueueUrl=url, VisibilityTimeout=HOURS_12, WaitTimeSeconds=5)["Messages"]
    send(client, url, iter(bodies))
    demo.run_dag("user_logins")
    _counts(demo)

    demo.step("A device that five users share", "Equal devices have equal masks. Which device it is, no table says.")
    mask, five = demo.device()
    demo.users("device", mask)
    console.print(f"    Eva is {eva}.", markup=False)
    _expect(eva in five, "Eva is not among them")

    demo.step(
        "A new masking key",
        "It is appended to the password of connection pii_masking. Nothing changes until the rotation, which gives",
        "each mask the new key on top, without any raw value.",
    )
    keys = f"{demo.local.masking_key()},{servers.secret(HOME, 'second_masking_key')}"
    demo.environment[MASKING] = json.dumps({"conn_type": "generic", "password": keys})
    demo.run_dag("rotate_masking_key", dry_run=False)
    rotated, same = demo.device()
    demo.table(("", "mask of the device", "users"), [("before", f"{mask[:24]}…", 5), ("after", f"{rotated[:24]}…", 5)])
    _expect(rotated != mask and same == five, "these are not the same five")
    console.print("    The same five users; and whoever has the old key alone can compute none of the new masks.")

    demo.step(
        "Eva asks to be forgotten",
        "An officer puts her into a queue in the warehouse, not into Airflow, which keeps what it is told.",
    )
    demo.privacy("officer", "erase", "--case", "DEMO-1", given=f"{eva}\n")
    demo.run_dag("erase_users", dry_run=False)
    four = demo.users("device", rotated)
    _expect(set(four) == set(five) - {eva}, "these are not the other four")
    _counts(demo)

    demo.step(
        "Her late message comes, and all is rebuilt from staging",
        "It was sent before she was erased, so it is counted, and nobody is in it.",
    )
    client.change_message_visibility(QueueUrl=url, ReceiptHandle=late["ReceiptHandle"], VisibilityTimeout=0)
    demo.run_dag("user_logins")
    demo.run_dag("user_logins", rebuild_from="2000-01-01T00:00:00Z", rebuild_to="2100-01-01T00:00:00Z")
    _expect(demo.users("device", rotated) == four, "somebody came back")
    _counts(demo)

    _show_trail(demo)

    demo.step("What is left of her")
    address = json.loads(hers)["ip"]
    found = _search(demo, {"her user id": eva, "the device's id": device, "her address": address})
    demo.table(("raw value", "found in the tables of the warehouse"), [(what, found[what]) for what in sorted(found)])
    _expect(not any(found.values()), "something is left")
    console.print(f"\nTo look at the tables: SANDBOX_HOME={HOME} make psql", markup=False, soft_wrap=True)


def _show_trail(demo: Demo) -> None:
    demo.step("The trail", "Who did what, in a chain of hashes, which the pipeline can add to and nobody can change …")
    said = demo.privacy("auditor", "verify")
    anchor = said.rpartition("anchor: ")[2]
    _expect(said.startswith("whole"), "the trail is broken")
    entries = [json.loads(entry) for (entry,) in demo.ask("select entry from privacy.audit order by seq")]
    lines = [(each["at"][:19], each["by"], each["event"], json.dumps(each["details"])) for each in entries]
    demo.table(("at", "by", "what", "details"), lines)
    console.print("    … but a superuser, who makes Eva's case another one:")
    edit = "update privacy.audit set entry = replace(entry, 'DEMO-1', 'DEMO-2')"
    console.print(f"    postgres=# {edit};", style="dim", markup=False)
    with demo.local.connect() as warehouse:
        warehouse.execute(edit.encode())
        broken = demo.privacy("auditor", "verify", "--anchor", anchor)
        warehouse.execute(b"update privacy.audit set entry = replace(entry, 'DEMO-2', 'DEMO-1')")
    _expect(broken.startswith("broken at"), "nobody noticed")


def _shared_device(bodies: list[str]) -> tuple[str, str, str]:
    """The device that five users share, one of these users, and one more event of that user's."""
    events = [event for event in map(json.loads, bodies) if isinstance(event.get("device_id"), str)]
    [(device, _)] = Counter(event["device_id"] for event in events).most_common(1)
    event = next(event for event in events if event["device_id"] == device)
    return device, event["user_id"], json.dumps(event)


def _counts(demo: Demo) -> None:
    demo.table(("rows of user_logins", "with a user", "of nobody", "different devices"), demo.ask(COUNTS))


def _search(demo: Demo, values: dict[str, str]) -> dict[str, int]:
    """How often each value stands in any table of the warehouse."""
    tables = (
        "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname !~ '^(pg_|information_schema)'"
    )
    found = dict.fromkeys(values, 0)
    with demo.local.connect() as warehouse:
        for (table,) in warehouse.execute(tables.encode()).fetchall():
            with warehouse.cursor().copy(f"copy (table {table}) to stdout".encode()) as copy:
                content = b"".join(bytes(block) for block in copy)
            for what, value in values.items():
                found[what] += content.count(value.encode())
    return found


def _expect(is_so: bool, otherwise: str) -> None:  # noqa: FBT001 - it reads as a sentence
    if not is_so:
        raise RuntimeError(f"The story ends otherwise: {otherwise}")


def main() -> None:
    """Begin anew, tell it, and stop the servers."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    try:
        servers.stop(HOME)
        shutil.rmtree(HOME, ignore_errors=True)
        with servers.servers(HOME) as local:
            demo = Demo(local)
            with console.status("starting Postgres, the SQS server and Airflow's database …"):
                airflow.migrate_metadata(demo.environment)
            with local.connect() as warehouse:
                for person, role in PEOPLE.items():
                    warehouse.execute(f"create role {person} login; grant {role} to {person}".encode())
            tell(demo)
    except (RuntimeError, psycopg.Error) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        console.print("Stopped.")


if __name__ == "__main__":
    main()

"""`make demo-privacy`: originals that two people can recover, a key that is changed, a person who is forgotten.

A story that a person can follow. It has servers of its own, in a folder of its own, which the next time begins with;
what it has made can be looked at there until then.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psycopg

from sandbox import airflow, servers
from sandbox.demo_recovery import APPROVES, ASKS, ask_and_approve, make_key, reveal
from sandbox.events import sample_events, send
from sandbox.telling import Demo, console

HOME = Path(os.environ.get("SANDBOX_HOME", servers.PROJECT / ".sandbox")) / "demo-privacy"
MASKING = "AIRFLOW_CONN_PII_MASKING"
EVENTS, SEED = 100, 7
HOURS_12 = 43_200
PEOPLE = {"officer": "privacy_officer", "auditor": "privacy_auditor"}
WHO = "select user_id, count(*) from public.user_logins where masked_device_id = %s group by user_id order by user_id"
DEVICE = "select masked_device_id from public.user_logins group by 1 having count(distinct user_id) = 5"
OF_EVA = "select masked_ip from public.user_logins where user_id = %s and masked_ip is not null limit 1"
COUNTS = "select count(*), count(user_id), count(*) - count(user_id), count(distinct masked_device_id) from user_logins"


@dataclass(frozen=True, slots=True)
class Cast:
    """Who and what it is about: the device that five users share, one of them, Eva, and one more event of hers."""

    device: str
    eva: str
    hers: str

    @property
    def address(self) -> str:
        """The address in that event."""
        return str(json.loads(self.hers)["ip"])


def tell(demo: Demo) -> None:
    """The story; RuntimeError where it does not come out as told."""
    bodies = list(sample_events(EVENTS, SEED))
    cast = _cast(bodies)
    passphrase = make_key(demo)
    late = _load(demo, cast, bodies)
    mask, five = _recover(demo, cast, passphrase)
    rotated = _rotate(demo, cast, passphrase, mask, five)
    _forget(demo, cast, passphrase, rotated, set(five) - {cast.eva})
    _come_late(demo, late, rotated, set(five) - {cast.eva})

    demo.step("A day later the grant is over", "Here the clock is turned, in the table.")
    demo.ask("update privacy.requests set valid_until = now()")
    demo.expect("its grant has expired" in reveal(demo, passphrase, granted=False), "the grant goes on")

    _show_trail(demo)

    demo.step("What is left in the clear")
    found = demo.search({"Eva's user id": cast.eva, "the device's id": cast.device, "her address": cast.address})
    demo.table(("raw value", "found in the tables of the warehouse"), sorted(found.items()))
    demo.expect(not any(found.values()), "something is left")
    console.print(f"\nTo look at the tables: SANDBOX_HOME={HOME} make psql", markup=False, soft_wrap=True)


def _load(demo: Demo, cast: Cast, bodies: list[str]) -> str:
    """Load the messages, but for one of Eva's; return the receipt handle of that one."""
    demo.step(
        "Load",
        f"{EVENTS} messages are on the queue, one of them no login. One more, of a user we call Eva, was received by a",
        "consumer that crashed: SQS will show it again, much later.",
    )
    client, url = demo.local.client(), demo.local.queue_url
    send(client, url, iter([cast.hers]))
    [late] = client.receive_message(QueueUrl=url, VisibilityTimeout=HOURS_12, WaitTimeSeconds=5)["Messages"]
    send(client, url, iter(bodies))
    demo.run_dag("user_logins")
    _counts(demo)
    return late["ReceiptHandle"]


def _recover(demo: Demo, cast: Cast, passphrase: str) -> tuple[str, list[str]]:
    """Let two people see which device it is; return its mask, and who shares it."""
    demo.step("A device that five users share", "Equal devices have equal masks. Which device it is, no table says.")
    [(mask,)] = demo.ask(DEVICE)
    five = _users(demo, mask)
    demo.say(f"Eva is {cast.eva}.")
    demo.expect(cast.eva in five, "Eva is not among them")

    demo.step(
        "Which device is it? Two people have to agree",
        f"{ASKS} asks Airflow for the originals of two masks, the device's and Eva's address's. {APPROVES} decides.",
    )
    [(address,)] = demo.ask(OF_EVA, cast.eva)
    ask_and_approve(demo, [mask, address])

    demo.step(
        "The officer reads them", "With a private key, at a terminal, outside of Airflow; the trail has it first."
    )
    shown = reveal(demo, passphrase)
    demo.expect(cast.device in shown and cast.address in shown, "the originals were not shown")
    return mask, five


def _rotate(demo: Demo, cast: Cast, passphrase: str, mask: str, five: list[str]) -> str:
    """Change the masking key; return the device's new mask."""
    demo.step(
        "A new masking key",
        "It is appended to the password of connection pii_masking. Nothing changes until the rotation, which gives",
        "each mask the new key on top, without any raw value.",
    )
    keys = f"{demo.local.masking_key()},{servers.secret(HOME, 'second_masking_key')}"
    demo.environment[MASKING] = json.dumps({"conn_type": "generic", "password": keys})
    demo.run_dag("rotate_masking_key", dry_run=False)
    [(rotated,)] = demo.ask(DEVICE)
    same = [user for user, _ in demo.ask(WHO, rotated)]
    demo.table(("", "mask of the device", "users"), [("before", f"{mask[:24]}…", 5), ("after", f"{rotated[:24]}…", 5)])
    demo.expect(rotated != mask and same == five, "these are not the same five")
    demo.say(
        "The same five users; and whoever has the old key alone can compute none of the new masks. The officer's grant",
        "is of messages, not of masks, and goes on:",
    )
    demo.expect(cast.device in reveal(demo, passphrase), "the grant has not survived the rotation")
    return str(rotated)


def _forget(demo: Demo, cast: Cast, passphrase: str, rotated: str, four: set[str]) -> None:
    demo.step(
        "Eva asks to be forgotten",
        "An officer puts her into a queue in the warehouse, not into Airflow, which keeps what it is told.",
    )
    demo.privacy("officer", "erase", "--case", "DEMO-1", given=f"{cast.eva}\n")
    demo.run_dag("erase_users", dry_run=False)
    demo.expect(set(_users(demo, rotated)) == four, "these are not the other four")
    _counts(demo)
    demo.say("Her originals are deleted, so no grant shows them; the device is that of the others, too:")
    shown = reveal(demo, passphrase)
    demo.expect(cast.device in shown and cast.address not in shown, "her address can still be read")


def _come_late(demo: Demo, late: str, rotated: str, four: set[str]) -> None:
    demo.step("Her late message comes", "It was sent before she was erased, so it is counted, and nobody is in it.")
    url = demo.local.queue_url
    demo.local.client().change_message_visibility(QueueUrl=url, ReceiptHandle=late, VisibilityTimeout=0)
    demo.run_dag("user_logins")
    demo.expect(set(_users(demo, rotated)) == four, "somebody came back")
    _counts(demo)


def _show_trail(demo: Demo) -> None:
    demo.step("The trail", "Who did what, in a chain of hashes, which the pipeline can add to and nobody can change …")
    said = demo.privacy("auditor", "verify")
    anchor = said.rpartition("anchor: ")[2]
    demo.expect(said.startswith("whole"), "the trail is broken")
    entries = [json.loads(entry) for (entry,) in demo.ask("select entry from privacy.audit order by seq")]
    lines = [(each["at"][:19], each["by"], each["event"], _short(each["details"])) for each in entries]
    demo.table(("at", "by", "what", "details"), lines)
    demo.say("… but a superuser, who makes Eva's case another one:")
    edit = "update privacy.audit set entry = replace(entry, 'DEMO-1', 'DEMO-2')"
    console.print(f"    postgres=# {edit};", style="dim", markup=False)
    demo.ask(edit)
    broken = demo.privacy("auditor", "verify", "--anchor", anchor)
    demo.ask("update privacy.audit set entry = replace(entry, 'DEMO-2', 'DEMO-1')")
    demo.expect(broken.startswith("broken at"), "nobody noticed")


def _short(details: dict[str, object]) -> str:
    return re.sub(r'"([0-9a-f]{8})[0-9a-f]{56}"', r'"\1…"', json.dumps(details))


def _cast(bodies: list[str]) -> Cast:
    events = [event for event in map(json.loads, bodies) if isinstance(event.get("device_id"), str)]
    [(device, _)] = Counter(event["device_id"] for event in events).most_common(1)
    event = next(event for event in events if event["device_id"] == device)
    return Cast(device, event["user_id"], json.dumps(event))


def _users(demo: Demo, mask: str) -> list[str]:
    """Show who has the device with this mask; return who they are."""
    rows = demo.ask(WHO, mask)
    demo.say(f"device: {mask[:24]}…")
    demo.table(("user", "logins with it"), rows)
    return [user for user, _ in rows]


def _counts(demo: Demo) -> None:
    demo.table(("rows of user_logins", "with a user", "of nobody", "different devices"), demo.ask(COUNTS))


def main() -> None:
    """Begin anew, tell it, and stop the servers."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    try:
        servers.stop(HOME)
        shutil.rmtree(HOME, ignore_errors=True)
        with servers.servers(HOME) as local:
            demo = Demo(local, HOME)
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

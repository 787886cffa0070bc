"""The part of the demonstration in which two people recover originals: an officer, and two users of Airflow."""

from __future__ import annotations

from contextlib import ExitStack

from sandbox import airflow, servers
from sandbox.people import DISCLOSE, Person, request_soon, wait_for_question, with_users
from sandbox.telling import Demo, console

ASKS, APPROVES = "rita", "ben"
GRANTED = "Show them? The trail will have it. [yes/no]"


def make_key(demo: Demo) -> str:
    """The passphrase of a key that is made and registered."""
    demo.step(
        "An officer makes a key",
        "Its private half never meets the pipeline, which from now on seals each original to the public half.",
    )
    key = str(demo.home / "officer.pem")
    said = demo.at_terminal("officer", "keygen", key)
    passphrase = said.partition("passphrase: ")[2].split()[0]
    said = demo.at_terminal("officer", "register", key, answers=[("passphrase of the key: ", passphrase)])
    demo.expect("registered" in said, "the key is not registered")
    return passphrase


def ask_and_approve(demo: Demo, masks: list[str]) -> None:
    """Let Airflow run with two users: one asks and cannot approve, the other approves."""
    password = servers.secret(demo.home, "password_of_users")
    environment = with_users(demo.environment, [ASKS, APPROVES], password=password)
    with ExitStack() as stack:
        with console.status("starting Airflow with users of its own …"):
            stack.enter_context(airflow.components(environment))
        rita, ben = (Person(environment["AIRFLOW__API__BASE_URL"], name, password) for name in (ASKS, APPROVES))
        demo.say(f"{ASKS} triggers {DISCLOSE} with both masks, a case and a reason; {APPROVES} finds it under Required")
        demo.say("Actions. Here it is done by the REST API, as the UI does it.")
        with console.status("asking …"):
            run_id = request_soon(rita, case="DEMO-0", reason="five users on one device", masked=masks)
            wait_for_question(rita, run_id)
        answers = [(person.name, person.answer(run_id, "Approve")) for person in (rita, ben)]
        demo.table(("who clicks Approve", "Airflow answers"), answers)
        demo.expect(answers == [(ASKS, 403), (APPROVES, 200)], "somebody approved an own request, or nobody did")
        with console.status("granting …"):
            demo.expect(ben.wait(run_id, "success", "failed") == "success", "the approval was not taken")
    demo.privacy("officer", "requests")


def reveal(demo: Demo, passphrase: str, *, granted: bool = True) -> str:
    """What the officer sees who reads the first request."""
    answers = [("passphrase of the key: ", passphrase), (GRANTED, "yes")] if granted else []
    return demo.at_terminal("officer", "reveal", "1", "--key", str(demo.home / "officer.pem"), answers=answers)

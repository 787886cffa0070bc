"""Whoever asks for originals cannot grant them, whatever Airflow lets her do; somebody else can."""

import json
import os
import subprocess
import time
import urllib.error
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote
from uuid import uuid4

import psutil
import pytest

from include.batches.staging import stage
from include.events.login import parse
from include.events.message import Message, Origin, Run
from include.privacy.masking import read_keyring
from include.privacy.trail import verify
from sandbox.airflow import components
from sandbox.people import DISCLOSE, SECONDS_TO_ANSWER, TASK, Person, request_soon, wait_for_question, with_users
from tests.support.chromium import chromium, tab_of
from tests.support.leaks import everywhere, in_memory, leaks
from tests.support.merging import merge
from tests.support.privacy import login, prepared_warehouse, recipient

PROJECT = Path(__file__).parents[2]
RAW = {"ip": "203.0.113.77", "device_id": "device-of-eva-4711"}
PASSWORD = "a password of these tests"
ROLES = {"rita": "user", "ben": "user", "carl": "user", "vera": "viewer"}
APPROVERS = "rita,ben"
REASON = "a chargeback that is being looked into"
NASTY = "# APPROVED by legal ![x](http://127.0.0.1:9/x.png) {{ var.value.x }} <img src=http://127.0.0.1:9/y.png>"
REASONS = {
    "granted": REASON,
    "rejected": REASON,
    "marked success": REASON,
    "run marked success": REASON,
    "timed out": REASON,
    "cleared when granted": REASON,
    "cleared when asked": REASON,
    "made again": REASON,
    "nasty": NASTY,
    "in a browser": REASON,
}
SENT_BY_THE_COMMAND_LINE = "sent_by_the_command_line"


class Airflow:
    """A running Airflow, four of its users, and a question of rita's for each test."""

    def __init__(self, environment, warehouse, metadata, mask, device):
        self.environment, self.warehouse, self.metadata = environment, warehouse, metadata
        self.mask, self.device = mask, device
        self.address = environment["AIRFLOW__API__BASE_URL"]
        self.rita, self.ben, self.carl, self.vera = (Person(self.address, name, PASSWORD) for name in ROLES)
        self.runs = {}

    def asked(self, run_id):
        """The request of a run, as the table has it."""
        query = "select *, privacy.standing(requests) from privacy.requests where run_id = %s"
        with self.warehouse.cursor() as cursor:
            rows = cursor.execute(query, [run_id]).fetchall()
            names = [column.name for column in cursor.description]
        [request] = [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in rows]
        return request

    def trail(self, run_id):
        """What the trail has of a request: events, and why where one was refused."""
        query = """
            select entry::jsonb ->> 'event', entry::jsonb #>> '{details,why}' from privacy.audit
            where entry::jsonb #>> '{details,request}' = %s::text order by seq
        """
        return [" ".join(filter(None, row)) for row in self.warehouse.execute(query, [self.asked(run_id).request_id])]

    def end(self, run_id, seconds=60):
        """The state of the task, once its run has ended too: Airflow may never start again what is cleared before."""
        deadline = time.monotonic() + seconds
        while self.ben.ask(path(run_id))["state"] not in ("success", "failed"):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        return self.ben.state(run_id)

    def rows_of(self, table):
        with self.metadata.cursor().copy(f'copy "{table}" to stdout') as copy:
            return b"".join(copy)

    def log(self, run_id, attempt=1):
        folder = Path(self.environment["AIRFLOW_HOME"], "logs", f"dag_id={DISCLOSE}", f"run_id={run_id}")
        return (folder / f"task_id={TASK}" / f"attempt={attempt}.log").read_text()


def path(run_id, rest=""):
    return f"/dags/{DISCLOSE}/dagRuns/{quote(run_id)}{rest}"


def task(run_id, rest=""):
    return path(run_id, f"/taskInstances/{TASK}{rest}")


def status(person, address, body=None, method=None):
    """The HTTP status of what a person tries: 200, or that of an error."""
    try:
        person.ask(address, body, method=method)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def clear(person, run_id):
    body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [TASK], "only_failed": False}
    return status(person, f"/dags/{DISCLOSE}/clearTaskInstances", body)


def ask_by_command_line(environment, mask):
    conf = json.dumps({"case": "C-1", "reason": REASON, "masked": [mask]})
    command = ["airflow", "dags", "trigger", DISCLOSE, "--run-id", SENT_BY_THE_COMMAND_LINE, "--conf", conf]
    subprocess.run(command, env=os.environ | environment, check=True, capture_output=True)


@pytest.fixture(scope="module")
def masks(local):
    """Address and device of the one login in a warehouse that keeps originals."""
    message = Message(uuid4(), datetime.now(UTC), 1, json.dumps({"user_id": "eva", **RAW}))
    origin = Origin(Run("user_logins", "a run"), 0, 1, datetime.now(UTC))
    with prepared_warehouse(local.postgres) as warehouse:
        recipient(local.postgres)
        keyring = read_keyring(local.masking_key())
        stage(warehouse, [(message, parse(message))], [], keyring=keyring, origin=origin)
        merge(warehouse)
        [masks] = warehouse.execute("select masked_ip, masked_device_id from public.user_logins").fetchall()
    return masks


@pytest.fixture(scope="module")
def airflow(local, airflow_home, masks, tmp_path_factory):
    """All questions are asked at once, and wait side by side."""
    dags = tmp_path_factory.mktemp("dags")
    (dags / f"{DISCLOSE}.py").symlink_to(PROJECT / "dags" / f"{DISCLOSE}.py")
    environment = with_users(airflow_home, ROLES, password=PASSWORD) | {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in ROLES.items()),
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
        "AIRFLOW_VAR_DISCLOSURE_APPROVERS": APPROVERS,
    }
    with local.connect() as warehouse, local.connect("airflow") as metadata, components(environment):
        running = Airflow(environment, warehouse, metadata, *masks)
        for name, reason in REASONS.items():
            running.runs[name] = request_soon(running.rita, case="C-1", reason=reason, masked=masks[:1])
        ask_by_command_line(environment, running.mask)
        for run_id in running.runs.values():
            assert running.rita.wait(run_id, "awaiting_input", "failed") == "awaiting_input"
        time.sleep(SECONDS_TO_ANSWER)
        yield running


def test_only_another_approver_can_approve_and_only_once(airflow):
    run_id = airflow.runs["granted"]
    assert airflow.rita.answer(run_id, "Approve") == 403
    assert airflow.carl.answer(run_id, "Approve") == 403
    assert airflow.vera.answer(run_id, "Approve") == 403
    assert airflow.asked(run_id).standing == "nobody has decided"
    assert airflow.ben.answer(run_id, "Approve") == 200
    assert airflow.ben.wait(run_id, "success", "failed") == "success"
    assert airflow.ben.answer(run_id, "Reject") == 409

    request = airflow.asked(run_id)
    assert (request.standing, request.requester, request.approver) == ("granted", "rita", "ben")
    assert request.valid_until is not None
    assert airflow.trail(run_id) == ["disclosure asked", "disclosure approved"]
    [entry] = airflow.ben.ask(task(run_id, "/xcomEntries"))["xcom_entries"]
    assert entry["key"] == "return_value"
    assert airflow.ben.ask(task(run_id, "/xcomEntries/return_value"))["value"] == "approved"


def test_a_rejected_request_stays_so_whatever_the_requester_writes_to_xcom(airflow):
    run_id, approved = airflow.runs["rejected"], {"value": "approved", "map_index": -1}
    assert status(airflow.rita, task(run_id, "/xcomEntries"), {"key": "return_value", **approved}) == 200
    assert airflow.ben.answer(run_id, "Reject") == 200
    assert airflow.end(run_id) == "success"
    assert airflow.ben.ask(task(run_id, "/xcomEntries/return_value"))["value"] == "rejected"
    assert status(airflow.rita, task(run_id, "/xcomEntries/return_value"), approved, "PATCH") == 200
    assert clear(airflow.rita, run_id) == 200
    assert airflow.rita.wait(run_id, "success", "failed") == "failed"

    request = airflow.asked(run_id)
    assert (request.standing, request.approver, request.valid_until) == ("rejected", "ben", None)
    assert airflow.trail(run_id) == ["disclosure asked", "disclosure rejected", "request refused already decided"]


@pytest.mark.parametrize(("name", "what"), [("marked success", task), ("run marked success", path)])
def test_marking_success_grants_nothing_nor_does_a_late_answer(airflow, name, what):
    run_id = airflow.runs[name]
    change = {"new_state": "success"} if what is task else {"state": "success"}
    assert status(airflow.rita, what(run_id), change, "PATCH") == 200
    airflow.ben.answer(run_id, "Approve")  # Airflow takes it
    assert airflow.asked(run_id).standing == "nobody has decided"
    assert airflow.trail(run_id) == ["disclosure asked"]


def test_nobody_answers_in_time(airflow):
    run_id = airflow.runs["timed out"]
    airflow.metadata.execute("update task_instance set trigger_timeout = now() where run_id = %s", [run_id])
    assert airflow.rita.wait(run_id, "success", "failed") == "failed"
    airflow.ben.answer(run_id, "Approve")  # Airflow takes it
    assert airflow.asked(run_id).standing == "nobody has decided"
    assert airflow.trail(run_id) == ["disclosure asked"]


def test_cleared_once_it_was_granted_it_asks_nobody_again(airflow):
    run_id = airflow.runs["cleared when granted"]
    assert airflow.ben.answer(run_id, "Approve") == 200
    assert airflow.end(run_id) == "success"
    granted = airflow.asked(run_id)
    assert clear(airflow.rita, run_id) == 200
    assert airflow.rita.wait(run_id, "awaiting_input", "success", "failed") == "failed"
    assert "the request is refused: already decided: ask with a new run" in airflow.log(run_id, attempt=2)
    assert airflow.asked(run_id) == granted
    assert airflow.trail(run_id) == ["disclosure asked", "disclosure approved", "request refused already decided"]


def test_cleared_while_it_waits_it_is_the_same_request(airflow):
    run_id = airflow.runs["cleared when asked"]
    before = airflow.asked(run_id)
    assert clear(airflow.rita, run_id) == 200
    wait_for_question(airflow.rita, run_id)
    assert airflow.asked(run_id) == before
    assert airflow.ben.answer(run_id, "Approve") == 200
    assert airflow.ben.wait(run_id, "success", "failed") == "success"
    assert airflow.asked(run_id).standing == "granted"
    assert airflow.trail(run_id) == ["disclosure asked", "disclosure approved"]


def test_a_run_made_again_under_the_same_name_for_something_else_is_refused(airflow):
    run_id = airflow.runs["made again"]
    first = airflow.asked(run_id)
    assert status(airflow.rita, path(run_id), {"state": "failed"}, "PATCH") == 200
    assert status(airflow.rita, path(run_id), method="DELETE") == 200
    conf = {"case": "C-1", "reason": "another reason, for another mask", "masked": [airflow.device]}
    body = {"logical_date": None, "dag_run_id": run_id, "conf": conf}
    assert status(airflow.rita, f"/dags/{DISCLOSE}/dagRuns", body) == 200
    assert airflow.rita.wait(run_id, "awaiting_input", "failed") == "failed"
    assert "the request is refused: the request has changed" in airflow.log(run_id)
    assert airflow.asked(run_id) == first
    assert airflow.trail(run_id) == ["disclosure asked", "request refused the request has changed"]


@pytest.mark.parametrize("text", ["a reason with a\nsecond line", "a reason with a `backtick`", "short", " " * 20])
def test_a_reason_that_could_be_more_than_text_is_refused_at_once(airflow, text):
    conf = {"case": "C-1", "reason": text, "masked": [airflow.mask]}
    assert status(airflow.rita, f"/dags/{DISCLOSE}/dagRuns", {"logical_date": None, "conf": conf}) == 400


def test_a_reason_is_quoted_and_no_template(airflow):
    question = airflow.ben.ask(task(airflow.runs["nasty"], "/-1/hitlDetails"))
    quoted, digest, warning = question["body"].split("\n\n")
    assert quoted == f"`rita` asks, because: `{NASTY}`"
    assert digest.endswith(f"Digest: `{airflow.asked(airflow.runs['nasty']).digest[:12]}`")
    assert warning == "Notes on this page are no part of it: whoever asks may write them."


def test_the_command_line_cannot_ask(airflow):
    assert airflow.rita.wait(SENT_BY_THE_COMMAND_LINE, "awaiting_input", "failed") == "failed"
    assert "so the command line could have asked, in nobody's name" in airflow.log(SENT_BY_THE_COMMAND_LINE)
    query = "select count(*) from privacy.requests where run_id = %s"
    assert airflow.warehouse.execute(query, [SENT_BY_THE_COMMAND_LINE]).fetchone() == (0,)


def test_as_two_people_see_it(airflow, tmp_path):
    question = "Show the originals of 1 mask of case C-1?"
    with chromium() as browser:

        def see(person, name):
            """What a person sees of a run's question, in a tab of their own."""
            tab = tab_of(browser, airflow.address, person.name, PASSWORD)
            tab.on("request", lambda request: requested.append(request.url))
            tab.goto(
                f"{airflow.address}/dags/{DISCLOSE}/runs/{quote(airflow.runs[name])}/tasks/{TASK}/required_actions"
            )
            tab.get_by_text(question).first.wait_for()
            tab.screenshot(path=tmp_path / f"{name} {person.name}.png")
            return tab

        requested = []
        for person in (airflow.rita, airflow.ben):
            tab = see(person, "in a browser")
            assert f"rita asks, because: {REASON}" in tab.inner_text("body")
        tab.get_by_role("button", name="Approve", exact=True).click()
        assert airflow.ben.wait(airflow.runs["in a browser"], "success", "failed") == "success"
        assert airflow.asked(airflow.runs["in a browser"]).standing == "granted"

        tab = see(airflow.ben, "nasty")
        assert NASTY in tab.inner_text("body")
        assert tab.locator("h1 img, img[src*=x]").count() == 0
        at_home = (airflow.address, f"blob:{airflow.address}", "about:", "data:")
        assert [url for url in requested if not url.startswith(at_home)] == []


def test_no_original_is_anywhere_and_no_mask_but_where_it_was_typed(airflow, local):
    places = everywhere(local, airflow.environment)
    assert leaks(places, [*RAW.values(), local.masking_key()]) == []
    masks = [airflow.mask, airflow.device]
    assert {place for place, _ in leaks(places, masks)} == {"the warehouse", "the metadata database"}
    tables = [
        name for (name,) in airflow.metadata.execute("select tablename from pg_tables where schemaname = 'public'")
    ]
    assert {table for table in tables if leaks({table: airflow.rows_of(table)}, masks)} == {"dag_run", "log"}
    with login(local.postgres, "uwe") as auditor:
        assert verify(auditor).seq > len(REASONS)


def test_airflows_processes_have_never_seen_an_original(airflow, local):
    processes = [each for each in psutil.Process().children(recursive=True) if "airflow" in " ".join(each.cmdline())]
    secrets = {airflow.mask, *RAW.values(), local.masking_key()}
    found = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            found[process.pid] = in_memory(process, secrets)
    assert len(found) >= 3
    # The masking key is in the environment of all; what was typed is in the memory of some; and nothing more.
    assert set().union(*found.values()) == {airflow.mask, local.masking_key()}


def test_nothing_else_was_granted(airflow):
    expected = {
        airflow.runs[name] for name in ("granted", "cleared when granted", "cleared when asked", "in a browser")
    }
    granted = airflow.warehouse.execute("select run_id from privacy.requests where approved").fetchall()
    assert {run_id for (run_id,) in granted} <= expected

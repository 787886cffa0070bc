"""Airflow with users of its own, and its REST API as one of them: for what two people have to do."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

DISCLOSE = "disclose_pii"
TASK = "approve_disclosure"
# Airflow fails a task that is answered before its executor has heard that the first half of it is over. It hears that
# at once, mostly; where the end of the process was missed, a heartbeat later.
SECONDS_TO_ANSWER = 5
SECONDS_OF_A_HEARTBEAT = 1


def with_users(environment: Mapping[str, str], names: Iterable[str], *, password: str) -> dict[str, str]:
    """The environment of an Airflow in which nobody is admin without a name: users who may trigger and answer."""
    people = list(names)
    passwords = Path(environment["AIRFLOW_HOME"]) / "passwords.json"
    passwords.parent.mkdir(parents=True, exist_ok=True)
    passwords.write_text(json.dumps(dict.fromkeys(people, password)))
    passwords.chmod(0o600)
    return {
        **environment,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:user" for name in people),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW_VAR_DISCLOSURE_APPROVERS": ",".join(people),
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": str(SECONDS_OF_A_HEARTBEAT),
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",  # what nobody triggers would only be in the way
    }


@dataclass
class Person:
    """A user of a running Airflow, at `address`."""

    address: str
    name: str
    password: str = field(repr=False)
    _token: str = field(default="", repr=False)

    def ask(self, path: str, body: object = None, *, method: str | None = None) -> Any:
        """The JSON that the REST API answers; urllib's HTTPError, with the code, where it refuses."""
        return self._send(f"/api/v2{path}", body, {"Authorization": f"Bearer {self.token()}"}, method)

    def token(self) -> str:
        """What proves that it is this user who asks."""
        if not self._token:
            login = {"username": self.name, "password": self.password}
            self._token = self._send("/auth/token", login, {})["access_token"]
        return self._token

    def request(self, **params: object) -> str:
        """Trigger `disclose_pii`; return the run's id."""
        body = {"logical_date": None, "conf": params}
        return str(self.ask(f"/dags/{DISCLOSE}/dagRuns", body)["dag_run_id"])

    def state(self, run_id: str) -> str | None:
        """The state of the run's one task."""
        state: str | None = self.ask(f"/dags/{DISCLOSE}/dagRuns/{run_id}/taskInstances/{TASK}")["state"]
        return state

    def wait(self, run_id: str, *states: str, seconds: float = 120) -> str:
        """Wait until the task is in one of these states, and return it; RuntimeError where that takes too long."""
        deadline = time.monotonic() + seconds
        while (state := self.state(run_id)) not in states:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{TASK} of {run_id} is {state}, not {' or '.join(states)}, after {seconds} seconds")
            time.sleep(0.5)
        return str(state)

    def answer(self, run_id: str, option: Literal["Approve", "Reject"]) -> int:
        """Answer the question of a run that waits; return the HTTP status: 200, or why not."""
        path = f"/dags/{DISCLOSE}/dagRuns/{run_id}/taskInstances/{TASK}/-1/hitlDetails"
        try:
            self.ask(path, {"chosen_options": [option], "params_input": {}}, method="PATCH")
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def _send(self, path: str, body: object, headers: Mapping[str, str], method: str | None = None) -> Any:
        request = urllib.request.Request(
            self.address + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **headers},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def request_soon(person: Person, *, seconds: float = 60, **params: object) -> str:
    """Trigger `disclose_pii` as soon as Airflow knows it; return the run's id. HTTPError where it may not."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return person.request(**params)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND or time.monotonic() > deadline:
                raise
        time.sleep(1)


def wait_for_question(person: Person, run_id: str) -> None:
    """Wait until a run asks its question and can be answered; RuntimeError where the task fails instead."""
    if person.wait(run_id, "awaiting_input", "failed") == "failed":
        raise RuntimeError(f"{TASK} of {run_id} has failed: its log says why")
    time.sleep(SECONDS_TO_ANSWER)

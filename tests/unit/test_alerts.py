"""What is told of a failed run, to whom, and what becomes of it where it cannot be sent."""

import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from airflow.providers.common.sql.operators.sql import SQLCheckResult

from include import alerts
from include.alerts import alert, failure, say_last, sentence_of
from include.batches.reconciliation import FailedCheck
from include.failures import SetupError
from tests.support.sinks import Slack, Smtp, by_mail, sink, text_of

CONNECTION = "AIRFLOW_CONN_USER_LOGINS_ALERTS"
CANARY = "203.0.113.77"
RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"


class Task:
    """What is asked of a task instance: XComs by run, and how many runs have ended."""

    dag_id, run_id, task_id, map_index, try_number = "user_logins", "run+2", "merge_user_logins", -1, 4

    def __init__(self, before=None, ended=0, previous="run 1", **changes):
        self.xcoms = {("run 1", alerts.FAILURE): before, (None, alerts.FAILURE): before if previous is None else None}
        self.ended, self.previous = ended, previous
        vars(self).update(changes)

    def get_previous_dagrun(self):
        return SimpleNamespace(run_id=self.previous) if self.previous else None

    def get_dr_count(self, dag_id, states):
        assert (dag_id, states) == ("user_logins", ["success", "failed"])
        return self.ended

    def xcom_push(self, key, value):
        self.xcoms[self.run_id, key] = value

    def xcom_pull(self, *, task_ids, map_indexes, key, run_id=None, include_prior_dates=False):
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get((None if include_prior_dates else run_id or self.run_id, key))


def context(ti, **changes):
    dag = SimpleNamespace(dag_id="user_logins")
    return {"dag": dag, "run_id": "run+2", "ti": ti, "reason": "task_failure", **changes}


def fail(ti, error):
    """The task's last try fails, and then the run does, in another process, which remembers nothing."""
    say_last({"ti": ti, "task": SimpleNamespace(), "exception": error})
    alerts.remembered.clear()
    alert(context(ti))


@pytest.fixture
def mails(monkeypatch):
    with sink(Smtp) as (port, kept):
        monkeypatch.setenv(CONNECTION, by_mail(port))
        yield kept


def test_a_mail_says_what_failed_why_and_where_to_look(mails, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/base/")
    fail(Task(task_id="drain_and_mask", map_index=3), SetupError("connection aws_sqs <is> {{ 7 * 7 }}"))
    [mail] = mails
    assert (mail["From"], mail["To"]) == ("airflow@example.com", "oncall@example.com")
    assert mail["Subject"] == "user_logins failed: connection aws_sqs <is> {{ 7 * 7 }}"
    assert text_of(mail).splitlines() == [
        "connection aws_sqs &lt;is&gt; {{ 7 * 7 }}",
        "DAG user_logins, run run+2, task drain_and_mask 3, try 4",
        "Log: https://airflow.example.com/base/dags/user_logins/runs/run%2B2/tasks/drain_and_mask/mapped/3",
        "What to do: docs/runbook.md, section “A run failed”",
        "A run that fails with the same sentence right after this one is not told.",
    ]


@pytest.mark.parametrize("to", ["a@example.com, b@example.com", ["a@example.com", "b@example.com"]])
def test_it_goes_to_several_people(mails, monkeypatch, to):
    monkeypatch.setenv(CONNECTION, by_mail(json.loads(os.environ[CONNECTION])["port"], to=to))
    fail(Task(), FailedCheck("x"))
    assert mails[0]["To"] == "a@example.com, b@example.com"


def test_a_long_sentence_of_several_lines_is_one_line_as_a_subject(mails):
    fail(Task(), FailedCheck("first\nBcc: x@example.com " + "long " * 100))
    assert mails[0]["Subject"].startswith("user_logins failed: first Bcc: x@example.com long long")
    assert len(mails[0]["Subject"]) == alerts.SUBJECT_LENGTH


def test_of_others_errors_only_the_type_is_told(mails, caplog):
    with caplog.at_level(logging.DEBUG):
        fail(Task(), psycopg.errors.CheckViolation(f"Failing row contains ({CANARY})"))
    assert mails[0]["Subject"] == "user_logins failed: CheckViolation: the log has its text"
    assert CANARY not in caplog.text + text_of(mails[0])


def test_of_checks_the_names_of_the_failed_ones():
    results = [SQLCheckResult(name=name, check_type="x", success=name == "good") for name in ("good", "bad", "worse")]
    task = SimpleNamespace(check_results=results)
    assert sentence_of(RuntimeError(f"Results: {CANARY}"), task) == "failed checks: bad, worse"
    assert sentence_of(RuntimeError(CANARY), SimpleNamespace(check_results=[])) == "RuntimeError: the log has its text"


@pytest.mark.parametrize(
    ("reason", "ti", "sentence"),
    [
        (
            "task_failure",
            Task(),
            "the task left no sentence: its worker was lost, somebody ended it, or its log says why",
        ),
        ("timed_out", None, "the run took longer than it may"),
        ("all_tasks_deadlocked", None, "all tasks deadlocked"),
    ],
)
def test_a_run_that_left_no_sentence_is_told_too(mails, reason, ti, sentence):
    alert(context(ti, reason=reason))
    assert mails[0]["Subject"] == f"user_logins failed: {sentence}"


def test_a_process_that_has_no_error_leaves_nothing():
    ti = Task()
    say_last({"ti": ti, "task": SimpleNamespace()})
    assert ti.xcom_pull(task_ids=ti.task_id, map_indexes=-1, key=alerts.FAILURE) is None


SAME = {"sentence": "the same", "ended": 7}


@pytest.mark.parametrize("previous", ["run 1", None], ids=["by its logical date", "by when it was left"])
@pytest.mark.parametrize(
    ("before", "ended", "is_repeated"),
    [
        (SAME, 8, True),
        (SAME | {"sentence": "another"}, 8, False),
        (SAME, 9, False),  # a run between the two has ended, with whatever
        (SAME, 7, False),  # runs were deleted, or that one is cleared
        (None, 8, False),
    ],
)
def test_the_same_again_is_told_once(mails, before, ended, is_repeated, previous):
    ti = Task(before, ended, previous)
    assert failure(ti, "the same") == {"sentence": "the same", "ended": ended, "is_repeated": is_repeated}
    fail(ti, FailedCheck("the same"))
    assert len(mails) == (not is_repeated)


def test_without_the_connection_nothing_happens(monkeypatch, caplog):
    monkeypatch.delenv(CONNECTION, raising=False)
    fail(Task(), RuntimeError("x"))
    assert caplog.messages == ["no alert: connection user_logins_alerts is not defined, or cannot be read"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"extra": {"from_email": "a@example.com"}}, "names no recipient: add to its extra"),
        ({"extra": {"from_email": "a@example.com", "to": [" "]}}, "names no recipient: add to its extra"),
        ({"extra": {"to": "b@example.com"}}, "names no sender: add to its extra"),
        ({"extra": "x"}, "its extra is not a JSON object"),
        ({"conn_type": "http"}, "has type http: set it to smtp or slackwebhook"),
        ({"conn_type": "slackwebhook"}, "has no password: set it to the webhook's URL"),
        ({"hostname": "x"}, "is malformed: there is no field hostname, use host"),
        ({}, "no alert was sent: ConnectionRefusedError: Connection refused"),
    ],
    ids=str,
)
def test_an_alert_that_cannot_be_sent_is_one_line_in_the_log(monkeypatch, caplog, changes, sentence):
    monkeypatch.setenv(CONNECTION, json.dumps(json.loads(by_mail(1)) | changes))
    fail(Task(), RuntimeError(CANARY))
    [record] = [record for record in caplog.records if record.name == "include.alerts"]
    assert sentence in record.getMessage()
    assert not record.exc_info


def test_so_is_one_that_the_mail_server_refuses(mails, monkeypatch, caplog):
    monkeypatch.setenv(CONNECTION, by_mail(json.loads(os.environ[CONNECTION])["port"], to="nobody@example.com"))
    fail(Task(), RuntimeError(CANARY))
    assert [record.getMessage() for record in caplog.records] == ["no alert was sent: SMTPRecipientsRefused"]


@pytest.mark.parametrize(("host", "secret"), [(None, "{address}/good/T0/secret"), ("{address}/good/", "/T0/secret")])
def test_slack_is_told_without_its_provider(monkeypatch, host, secret):
    with sink(Slack) as (port, kept):
        address = f"http://127.0.0.1:{port}"
        value = {"conn_type": "slackwebhook", "password": secret.format(address=address)}
        monkeypatch.setenv(CONNECTION, json.dumps(value | ({"host": host.format(address=address)} if host else {})))
        fail(Task(), FailedCheck("1 < 2"))
    assert kept[0].startswith(
        "*user_logins failed*\n1 &lt; 2\nDAG user_logins, run run+2, task merge_user_logins, try 4\n"
    )


def test_the_secret_of_a_webhook_is_in_no_log(monkeypatch, caplog):
    with sink(Slack) as (port, kept), caplog.at_level(logging.WARNING):
        for host in (f"http://127.0.0.1:{port}/gone", "http://127.0.0.1:1", "no address"):
            monkeypatch.setenv(
                CONNECTION, json.dumps({"conn_type": "slackwebhook", "host": host, "password": "secret"})
            )
            fail(Task(), FailedCheck("x"))
    assert len([record for record in caplog.records if record.name == "include.alerts"]) == 6
    assert "Slack answered 404: check the webhook's URL" in caplog.text
    assert "secret" not in caplog.text
    assert kept == []


def test_the_sections_that_alerts_name_are_in_the_runbook():
    text = RUNBOOK.read_text()
    for section in (alerts.ANY_RUN, *alerts.RUNBOOK.values()):
        assert f"\n## {section}\n" in text

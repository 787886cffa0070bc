"""What is said of a failure: a sentence at the end of the task's log, and one message for each run that fails.

    a task fails, its last try   say_last, in the task's process: logs the sentence, leaves it behind as an XCom
    the run fails                alert, in the DAG processor: reads it there, sends it through `user_logins_alerts`

The exception itself is known in the task's process only. While its callback runs, Airflow holds the task for running,
so that the XCom is there before the run can fail. Nothing here changes the state of a run: Airflow has set it before.
In `airflow dags test` both are one process, whose second step has no XComs: it finds what the first one remembers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

import httpx
from airflow.configuration import conf
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import Connection

from include.batches.reconciliation import FailedCheck
from include.connections import ALERTS, alerts_connection
from include.failures import SetupError

log = logging.getLogger(__name__)

FAILURE = "failure"  # the XCom of a failed task
DISCLOSE = "disclose_pii"
ENDED = ["success", "failed"]
SLACK = "https://hooks.slack.com/services"
SECONDS = 10  # for Slack to answer; the DAG processor gives all callbacks of a file 50
SUBJECT_LENGTH = 150
# Sections of docs/runbook.md.
RUNBOOK = {"check_user_logins": "A check failed", "maintain_user_logins": "The maintenance failed"}
ANY_RUN = "A run failed"
# By what Airflow gives as the reason, where no task left a sentence.
SILENT = {
    "task_failure": "the task left no sentence: its worker was lost, somebody ended it, or its log says why",
    "timed_out": "the run took longer than it may",
}
# By task instance, what was left behind in this process.
remembered: dict[tuple[str, str, str, int], dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Alert:
    """What is told of a failed run: no personal data, no secret."""

    sentence: str
    dag_id: str
    run_id: str
    task: str
    link: str | None

    @property
    def subject(self) -> str:
        """One line."""
        line = f"{self.dag_id} failed: {' '.join(self.sentence.split())}"
        return line if len(line) <= SUBJECT_LENGTH else f"{line[: SUBJECT_LENGTH - 1]}…"

    @property
    def lines(self) -> list[str]:
        """What to know, and what to look at."""
        section = RUNBOOK.get(self.dag_id, ANY_RUN)
        return [
            self.sentence,
            f"DAG {self.dag_id}, run {self.run_id}, {self.task}",
            *([f"Log: {self.link}"] if self.link else []),
            f"What to do: docs/runbook.md, section “{section}”",
            "A run that fails with the same sentence right after this one is not told.",
        ]


def say_last(context: Mapping[str, Any]) -> None:
    """Log the sentence of what somebody has to fix once more, below Airflow's traceback, where people look.

    Whatever the error was, leave behind what may be said of it.
    """
    error, ti = context.get("exception"), context["ti"]
    if isinstance(error, SetupError | FailedCheck):
        log.error("%s", error)
    if isinstance(error, BaseException):  # else its process is gone, and this is the DAG processor
        left = failure(ti, sentence_of(error, context["task"]))
        remembered[_key(ti)] = left
        ti.xcom_push(FAILURE, left)


def sentence_of(error: BaseException, task: Any) -> str:
    """What may be said of an error: our own sentences, which name no person; of others, the type only."""
    if getattr(task, "dag_id", None) == DISCLOSE:
        return "a request for originals was not granted: its log says why"  # which may name people, and a case
    if isinstance(error, SetupError | FailedCheck):
        return str(error)
    failed = [result.name for result in getattr(task, "check_results", ()) if not result.success]
    return f"failed checks: {', '.join(failed)}" if failed else f"{type(error).__name__}: the log has its text"


def failure(ti: Any, sentence: str) -> dict[str, Any]:
    """The sentence, how many runs of the DAG have ended, and whether the last of them ended with the same sentence.

    That one's XCom was left when one run less had ended. Where that cannot be told, it is another one.
    """
    previous = ti.get_previous_dagrun()  # None of a run without a logical date, such as those of assets
    where = {"run_id": previous.run_id} if previous else {"include_prior_dates": True}
    before = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index, key=FAILURE, **where) or {}
    ended = ti.get_dr_count(ti.dag_id, states=ENDED)
    is_repeated = (before.get("sentence"), before.get("ended")) == (sentence, ended - 1)
    return {"sentence": sentence, "ended": ended, "is_repeated": is_repeated}


def alert(context: Mapping[str, Any]) -> None:
    """Send one message about the run that failed; nothing where the connection is not defined. Never raises."""
    try:
        connection = alerts_connection()
        if connection is None:
            log.info("no alert: connection %s is not defined, or cannot be read", ALERTS)
            return
        left = left_behind(context.get("ti"))
        if left.get("is_repeated"):
            log.info("no alert: the run before failed with the same sentence")
            return
        send(connection, alert_of(context, left.get("sentence")))
    except SetupError as error:
        log.error("no alert was sent: %s", error)  # noqa: TRY400 - the sentence says it all
    except Exception as error:  # noqa: BLE001 - whatever it is, the run has failed already
        log.error("no alert was sent: %s", in_short(error))  # noqa: TRY400 - a text may quote the address with its secret


def left_behind(ti: Any) -> Mapping[str, Any]:
    """What `say_last` left of a task; nothing where no task failed, or one that could not say anything."""
    if ti is None:
        return {}
    left = remembered.get(_key(ti)) or ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index, key=FAILURE)
    return left or {}


def _key(ti: Any) -> tuple[str, str, str, int]:
    return ti.dag_id, ti.run_id, ti.task_id, ti.map_index


def in_short(error: Exception) -> str:
    """An error's type, and what the system or the mail server says of it."""
    said = getattr(error, "strerror", None)
    said = said.decode(errors="replace") if isinstance(said, bytes) else said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def alert_of(context: Mapping[str, Any], sentence: str | None) -> Alert:
    """What is told of the run of a DAG's callback."""
    ti, dag_id = context.get("ti"), context["dag"].dag_id
    task, path = "no task", f"dags/{dag_id}/runs/{quote(context['run_id'], safe='')}"
    if ti:
        is_mapped = ti.map_index is not None and ti.map_index >= 0
        task = f"task {ti.task_id}" + (f" {ti.map_index}" if is_mapped else "") + f", try {ti.try_number}"
        path += f"/tasks/{ti.task_id}" + (f"/mapped/{ti.map_index}" if is_mapped else "")
    base = conf.get("api", "base_url", fallback="")
    link = f"{base.rstrip('/')}/{path}" if base else None
    reason = str(context.get("reason"))
    return Alert(sentence or SILENT.get(reason, reason.replace("_", " ")), dag_id, context["run_id"], task, link)


def send(connection: Connection, alert: Alert) -> None:
    """Send an alert by mail or to Slack, as the connection's type says; SetupError where it cannot be used."""
    if connection.conn_type == "slackwebhook":
        post(webhook(connection), alert)
    else:
        mail(*addresses(connection), alert)


def channel(connection: Connection) -> str:
    """What the connection leads to, in words; SetupError where it cannot be used."""
    if connection.conn_type == "slackwebhook":
        webhook(connection)
        return "failed runs are told to Slack"
    _, recipients = addresses(connection)
    return f"failed runs are told by mail, to {', '.join(recipients)}"


def addresses(connection: Connection) -> tuple[str, list[str]]:
    """Who alerts are from, and to whom, by the extra of a connection of type `smtp`."""
    if connection.conn_type != "smtp":
        raise SetupError(f"connection {ALERTS} has type {connection.conn_type}: set it to smtp or slackwebhook")
    extra = connection.extra_dejson
    to = extra.get("to") or []
    recipients = [part.strip() for part in (to.split(",") if isinstance(to, str) else map(str, to)) if part.strip()]
    if not recipients:
        raise SetupError(f'connection {ALERTS} names no recipient: add to its extra "to": "oncall@example.com"')
    sender = extra.get("from_email") or connection.login
    if not sender:
        raise SetupError(f'connection {ALERTS} names no sender: add to its extra "from_email": "airflow@example.com"')
    return sender, recipients


def webhook(connection: Connection) -> str:
    """The address in a connection of type `slackwebhook`, as Slack's provider reads it: password, or host and that."""
    secret = (connection.password or "").strip()
    if not secret:
        raise SetupError(f"connection {ALERTS} has no password: set it to the webhook's URL, as Slack shows it")
    return secret if "://" in secret else f"{(connection.host or SLACK).rstrip('/')}/{secret.lstrip('/')}"


def mail(sender: str, recipients: list[str], alert: Alert) -> None:
    """Send it through the mail server of the connection."""
    text = "".join(f"<p>{escape(line)}</p>" for line in alert.lines)
    mail = SmtpNotifier(recipients, sender, alert.subject, text, smtp_conn_id=ALERTS)
    mail.notify({})  # and not the notifier itself, which would take the sentence for a template


def post(url: str, alert: Alert) -> None:
    """Send it to Slack: one request, for which its provider, which our lock does not have, is not needed."""
    text = "\n".join(escape(line, quote=False) for line in (f"*{alert.dag_id} failed*", *alert.lines))
    answer = httpx.post(url, json={"text": text}, timeout=SECONDS)
    if answer.status_code != httpx.codes.OK:
        raise SetupError(f"connection {ALERTS}: Slack answered {answer.status_code}: check the webhook's URL")

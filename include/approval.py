"""The one task of `disclose_pii`: asks for originals, and grants them when somebody else approves.

The grant is written where Airflow hands over the answer, in `execute_complete`, and bound to a digest of what was asked
for. No task below this one may do it: whoever may trigger the DAG may rewrite a task's XCom, mark it success, clear
it, or delete the run and make another one of the same name.
"""

from __future__ import annotations

import getpass
import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Variable
from airflow.sdk.execution_time.hitl import HITLUser

from include.batches import disclosure
from include.batches.reconciliation import FailedCheck
from include.connections import warehouse_connection
from include.failures import SetupError
from include.params import APPROVERS, approvers
from include.privacy.requests import Request

log = logging.getLogger(__name__)

# What Airflow calls those who are nobody in particular: everybody, where all are admins; `airflow dags test`.
NOBODY = ("", "anonymous", "dag_test", "none")
ONE_LINE = re.compile(r"[^`]+")  # a backtick would end the quotation that keeps Markdown from being read


class DisclosureApproval(ApprovalOperator):
    """Ask for the originals of the params `masked`, or of the person of `case`; let an approver decide.

    Fails, with nothing granted, where the requester or the approver is nobody in particular, both are the same, the
    request has changed, was decided before, or nobody decides in time. Returns the decision, and nothing else.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(subject="Show originals?", response_timeout=timedelta(days=3), retries=0, **kwargs)

    def execute(self, context: Any) -> Any:
        """Write the request down, and wait for one of the approvers, who is not the requester."""
        request = request_of(context)
        self.assigned_users = others(Variable.get(APPROVERS, default=""), request.requester)  # who else answers: 403
        with warehouse_connection() as warehouse:
            number = disclosure.ask(warehouse, request)
        # Set here, where Airflow has rendered its templates already: what somebody typed is none.
        what = f"all {number} rows of the person" if request.is_access else f"{number} mask{'s'[: number != 1]}"
        self.subject = f"Show the originals of {what} of case {request.case_number}?"
        self.body = "\n\n".join(
            [
                f"`{request.requester}` asks, because: `{request.reason}`",
                f"Once you approve, an officer can read them for a while. Digest: `{request.digest[:12]}`",
                "Notes on this page are no part of it: whoever asks may write them.",
            ]
        )
        log.info("asked by %s, digest %s", request.requester, request.digest)
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> str:
        """Write the decision down, from the answer that Airflow hands over; raises where it grants nothing."""
        super().execute_complete(context, event)
        request = request_of(context)
        who = event["responded_by_user"] or {}
        allowed = {each["id"] for each in others(Variable.get(APPROVERS, default=""), request.requester)}
        is_approver = str(who.get("id")) in allowed and not is_nobody(who.get("name"))
        with warehouse_connection() as warehouse:
            return disclosure.decide(
                warehouse,
                request,
                approver=who["name"] if is_approver else None,
                approve=event["chosen_options"] == [self.APPROVE],
            )


def request_of(context: Mapping[str, Any]) -> Request:
    """What the run asks for, in whose name; FailedCheck where that is nobody in particular."""
    run, params = context["dag_run"], context["params"]
    requester = run.triggering_user_name
    if run.run_type != "manual" or is_nobody(requester):
        raise FailedCheck(
            "nobody in particular asks: trigger the DAG from the UI or the API, as a user with a name of your own"
        )
    if requester == _own_login():
        raise FailedCheck(
            f"{requester} is the login that this worker runs as, so the command line could have asked, in nobody's "
            "name: trigger the DAG from the UI or the API, as another user"
        )
    if not all(text.isprintable() and ONE_LINE.fullmatch(text) for text in (params["reason"], requester)):
        raise FailedCheck("the reason and the name of who asks must be one line, without a backtick")
    masks = tuple(sorted(set(params["masked"] or ())))
    return Request(run.run_id, requester, params["case"], params["reason"], masks)


def _own_login() -> str | None:
    """The login that this process runs as; None for a user id without a name, as containers may have."""
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return None


def others(text: str, requester: str) -> list[HITLUser]:
    """The approvers in the variable's text, but for the requester; SetupError where nobody is left."""
    own = requester.strip().lower()
    if left := [each for each in approvers(text) if own not in (each["id"].lower(), each["name"].lower())]:
        return [HITLUser(id=each["id"], name=each["name"]) for each in left]
    raise SetupError(f"variable {APPROVERS} names nobody but {requester}, who asks: add the Airflow user id of another")


def is_nobody(name: object) -> bool:
    """Whether a name is not that of one person.

    >>> is_nobody(None), is_nobody("Anonymous"), is_nobody("ann")
    (True, True, False)
    """
    return not isinstance(name, str) or name.strip().lower() in NOBODY

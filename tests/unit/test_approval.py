"""Who may ask for originals, and who may decide: nobody in particular may do neither."""

import getpass
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from include import approval
from include.approval import DisclosureApproval, others, request_of
from include.batches.reconciliation import FailedCheck
from include.failures import SetupError

MASK = "0123abcd:" + "0" * 64


def context(requester="rita", run_type="manual", **params):
    run = SimpleNamespace(run_id="a run", triggering_user_name=requester, run_type=run_type)
    return {"dag_run": run, "params": {"case": "C-1", "reason": "a chargeback", "masked": [MASK]} | params}


def ids(text, requester="rita"):
    return [each["id"] for each in others(text, requester)]


def test_a_run_asks_in_the_name_of_whoever_triggered_it():
    request = request_of(context(masked=[MASK, "f" + MASK[1:], MASK]))
    assert request.requester == "rita"
    assert request.masks == (MASK, "f" + MASK[1:])


@pytest.mark.parametrize("requester", [None, "", " ", "Anonymous", "ANONYMOUS ", "dag_test", "None", 7])
def test_nobody_in_particular_cannot_ask(requester):
    with pytest.raises(FailedCheck, match="nobody in particular asks: trigger the DAG from the UI or the API"):
        request_of(context(requester))


@pytest.mark.parametrize("run_type", ["scheduled", "backfill", "operator_triggered", "asset_triggered"])
def test_only_a_run_that_was_triggered_by_hand_can_ask(run_type):
    with pytest.raises(FailedCheck, match="nobody in particular asks"):
        request_of(context(run_type=run_type))


def test_the_command_line_cannot_ask():
    with pytest.raises(FailedCheck, match="so the command line could have asked, in nobody's name"):
        request_of(context(getpass.getuser()))


@pytest.mark.parametrize("text", ["a `quoted` reason", "two\nlines", "to the \u202etfel", "a zero\u200bwidth", ""])
def test_what_markdown_or_eyes_could_misread_is_refused(text):
    with pytest.raises(FailedCheck, match="must be one line, without a backtick"):
        request_of(context(reason=text))
    with pytest.raises(FailedCheck):
        request_of(context(requester=text))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("rita,ben", ["ben"]),
        ("RITA, ben ,carl", ["ben", "carl"]),
        ("7=rita,9=ben", ["9"]),
        ("7=Rita,9=ben", ["9"]),
        ("ben,ben", ["ben", "ben"]),
    ],
)
def test_the_requester_is_no_approver_of_her_own_request(text, left):
    assert ids(text) == left


@pytest.mark.parametrize("text", ["rita", "RITA", "7=rita", "rita=somebody", "rita,7=Rita"])
def test_somebody_else_must_be_named(text):
    with pytest.raises(SetupError, match="variable disclosure_approvers names nobody but rita, who asks"):
        ids(text)


@pytest.mark.parametrize("text", ["", " , ", "=ben", "7="])
def test_the_variable_must_say_who_may_approve(text):
    with pytest.raises(SetupError, match="variable disclosure_approvers does not say who may approve"):
        ids(text)


@pytest.fixture
def decided(monkeypatch):
    """Call it with who has answered: what the database is told, as approver and decision."""

    def decide(warehouse, request, *, approver, approve):
        told.append((approver, approve))
        return "approved"

    told = []
    monkeypatch.setattr(approval, "warehouse_connection", nullcontext)
    monkeypatch.setattr(approval.disclosure, "decide", decide)

    def answer(who, option="Approve", approvers="rita,ben,7=Carl"):
        monkeypatch.setenv("AIRFLOW_VAR_DISCLOSURE_APPROVERS", approvers)
        event = {"chosen_options": [option], "params_input": {}, "responded_at": datetime.now(UTC)}
        task = DisclosureApproval(task_id="approve_disclosure")
        task.execute_complete(context(), event | {"responded_by_user": who})
        return told.pop()

    return answer


def test_an_approver_decides(decided):
    assert decided({"id": "ben", "name": "ben"}) == ("ben", True)
    assert decided({"id": "ben", "name": "ben"}, "Reject") == ("ben", False)
    assert decided({"id": "7", "name": "Carl"}) == ("Carl", True)


@pytest.mark.parametrize(
    "who",
    [
        None,
        {},
        {"id": "rita", "name": "rita"},
        {"id": "dora", "name": "dora"},
        {"id": "Carl", "name": "Carl"},
        {"id": "ben", "name": "Anonymous"},
        {"id": "ben", "name": None},
        {"id": None, "name": "ben"},
    ],
)
def test_an_answer_of_anybody_else_is_nobodys(decided, who):
    assert decided(who) == (None, True)


def test_who_was_removed_from_the_approvers_meanwhile_decides_nothing(decided):
    assert decided({"id": "ben", "name": "ben"}, approvers="rita,carl") == (None, True)


@pytest.mark.parametrize("name", ["rita", "Rita ", "RITA"])
def test_an_approver_of_the_requesters_name_is_left_to_the_database(decided, name):
    """It compares names, and says `own request`: the trail has it."""
    assert decided({"id": "ben", "name": name}) == (name, True)

"""What cannot be served is said in one sentence before anybody is asked; what is asked lists messages, newest first."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from include.batches import disclosure
from include.batches.reconciliation import FailedCheck
from include.batches.staging import stage
from include.events.login import parse
from include.events.message import Message, Origin, Run
from include.failures import SetupError
from include.privacy.masking import read_keyring
from include.privacy.originals import prepare_vault
from include.privacy.requests import Request, ask_access
from tests.support.merging import merge
from tests.support.privacy import as_dba, login, prepared_warehouse, recipient

NOW = datetime.now(UTC) - timedelta(hours=1)
UNKNOWN = "0123abcd:" + "0" * 64


def land(warehouse, local, *users):
    """A login of each, from one device; the address is the user's own."""
    events = [{"user_id": str(user), "ip": f"192.0.2.{user}", "device_id": "a device"} for user in users]
    messages = [Message(uuid4(), NOW, 1, json.dumps(event)) for event in events]
    origin = Origin(Run("user_logins", "a run"), 0, 1, NOW)
    keyring = read_keyring(local.masking_key())
    stage(warehouse, [(message, parse(message)) for message in messages], [], keyring=keyring, origin=origin)
    merge(warehouse)


def request(*masks, case="C-1", run="a run", reason="a chargeback"):
    return Request(run, "rita", case, reason, masks)


def masks_of(warehouse, user):
    query = "select masked_ip, masked_device_id from public.user_logins where user_id = %s"
    [masks] = warehouse.execute(query, [user]).fetchall()
    return masks


def requests(local):
    with local.connect() as owner:
        return owner.execute("select run_id, items, is_access from privacy.requests order by 1").fetchall()


@pytest.fixture
def without_a_key(local):
    """A warehouse with schema privacy, where no public key is registered."""
    with prepared_warehouse(local.postgres) as warehouse:
        yield warehouse


@pytest.fixture
def prepared(without_a_key, local):
    recipient(local.postgres)
    prepare_vault(without_a_key)
    return without_a_key


def test_without_schema_privacy_nothing_can_be_asked(local):
    as_dba(local.postgres)
    with (
        login(local.postgres, "pipeline") as warehouse,
        pytest.raises(SetupError, match="disclosure needs schema privacy: it is not installed: let a DBA run: python"),
    ):
        disclosure.ask(warehouse, request(UNKNOWN))


def test_without_a_registered_key_nothing_can_be_asked(without_a_key, local):
    land(without_a_key, local, 1)
    with pytest.raises(SetupError, match="no original was ever kept: an officer registers a public key, python -m"):
        disclosure.ask(without_a_key, request(masks_of(without_a_key, "1")[0]))
    assert requests(local) == []


def test_of_masks_that_are_in_no_login_only_the_number_is_said(prepared, local):
    land(prepared, local, 1)
    with pytest.raises(
        FailedCheck, match=r"^1 of 2 masks are in no login that came as a message: copy them from"
    ) as said:
        disclosure.ask(prepared, request(masks_of(prepared, "1")[0], UNKNOWN))
    assert UNKNOWN not in str(said.value)
    assert requests(local) == []


def test_a_case_that_is_about_nobody_is_refused(prepared, local):
    with pytest.raises(FailedCheck, match="case C-1 is about nobody: give masks, or let an officer run python -m"):
        disclosure.ask(prepared, request())
    assert requests(local) == []


def test_each_mask_is_one_item_however_many_logins_have_it(prepared, local):
    land(prepared, local, *range(disclosure.CANDIDATES + 5))
    address, device = masks_of(prepared, "1")
    assert disclosure.ask(prepared, request(address, device)) == 2
    assert requests(local) == [("a run", 2, False)]
    with local.connect() as owner:
        query = "select field, mask, count(*) from privacy.request_items group by 1, 2 order by 1"
        listed = owner.execute(query).fetchall()
    assert listed == [("device_id", device, disclosure.CANDIDATES), ("ip", address, 1)]


def test_a_person_who_asks_is_found_by_the_case(prepared, local):
    land(prepared, local, 1)
    land(prepared, local, 1, 2)
    with login(local.postgres, "olga") as officer:
        assert ask_access(officer, case_number="C-1", user_id="1") == "noted"
    assert disclosure.ask(prepared, request()) == 2
    assert requests(local) == [("a run", 2, True)]


def test_asked_again_by_the_same_run_it_is_the_same_request_until_it_is_decided(prepared, local):
    land(prepared, local, 1)
    one = request(*masks_of(prepared, "1"))
    assert disclosure.ask(prepared, one) == disclosure.ask(prepared, one) == 2
    for other in (
        request(*one.masks, reason="another one"),
        request(*one.masks, case="C-2"),
        request(one.masks[0]),
        replace(one, requester="ben"),
    ):
        with pytest.raises(FailedCheck, match=r"^the request is refused: the request has changed: ask with a new run$"):
            disclosure.ask(prepared, other)
        with pytest.raises(FailedCheck, match=r"^nothing is granted: the request has changed: ask with a new run$"):
            disclosure.decide(prepared, other, approver="zoe", approve=True)
    assert disclosure.ask(prepared, request(*reversed(one.masks))) == 2
    assert requests(local) == [("a run", 2, False)]
    assert disclosure.decide(prepared, one, approver="ben", approve=False) == "rejected"
    with pytest.raises(FailedCheck, match=r"^the request is refused: already decided: ask with a new run$"):
        disclosure.ask(prepared, one)
    with pytest.raises(FailedCheck, match=r"^nothing is granted: already decided: ask with a new run$"):
        disclosure.decide(prepared, one, approver="zoe", approve=True)
    with pytest.raises(FailedCheck, match=r"^nothing is granted: no such request: ask with a new run$"):
        disclosure.decide(prepared, replace(one, run_id="never asked"), approver="zoe", approve=True)


@pytest.mark.parametrize("nobody", ["", "Anonymous", "dag_test", "a\nb", f"see {UNKNOWN}"])
def test_nobody_in_particular_cannot_ask(prepared, local, nobody):
    land(prepared, local, 1)
    with pytest.raises(FailedCheck, match=r"^the request is refused: nobody asked: ask with a new run$"):
        disclosure.ask(prepared, replace(request(*masks_of(prepared, "1")), requester=nobody))
    assert requests(local) == []


@pytest.mark.parametrize(
    ("approver", "why"),
    [
        *((nobody, "nobody decided") for nobody in (None, "", "Anonymous", "dag_test", "a\nb")),
        ("RITA ", "own request"),
    ],
)
def test_a_decision_that_is_none_is_in_the_trail(prepared, local, approver, why):
    land(prepared, local, 1)
    one = request(*masks_of(prepared, "1"))
    disclosure.ask(prepared, one)
    with pytest.raises(FailedCheck, match=f"^nothing is granted: {why}: ask with a new run$"):
        disclosure.decide(prepared, one, approver=approver, approve=True)
    with login(local.postgres, "uwe") as auditor:
        last = "select entry::jsonb -> 'details' ->> 'why' from privacy.audit order by seq desc limit 1"
        assert auditor.execute(last).fetchone() == (why,)
        assert auditor.execute("select privacy.standing(requests) from privacy.requests").fetchone() == (
            "nobody has decided",
        )

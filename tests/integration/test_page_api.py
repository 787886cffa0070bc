"""The API behind the page, and the route of metrics, from a real warehouse: as programs use them, and misuse them."""

import json
from datetime import UTC, datetime, timedelta
from typing import get_args
from uuid import uuid4

import pytest
import schemathesis
from fastapi import HTTPException
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings

from include.connections import warehouse_connection
from include.page import metrics
from include.page.api import RangeName
from include.page.app import build
from include.page.ranges import RANGES
from include.warehouse.setup import prepare_warehouse
from tests.integration.test_page import RAW, run
from tests.support.queues import MESSAGES, send_events

ROOT = "/airflow/user-logins"
SECRET = "a secret of these tests"
FEW = settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
GOOD = MESSAGES - MESSAGES // 10


def application(require_access=lambda: None, secret=SECRET):
    return build(
        require_access=require_access,
        require_edit=lambda: None,
        open_warehouse=warehouse_connection,
        metrics_secret=lambda: secret,
        mounted_at="/user-logins",
    )


def client(**options):
    return TestClient(application(**options), root_path=ROOT, raise_server_exceptions=False)


@pytest.fixture
def api(empty_warehouse, connected):
    with client() as program:

        def ask(path, status=200, **parameters):
            answer = program.get(f"/api/v1{path}", params=parameters or None)
            assert answer.status_code == status, answer.text
            assert answer.headers["cache-control"] == "no-store"
            return answer.json()

        yield ask


@pytest.fixture
def drained(api, sqs, queue_url):
    send_events(sqs, queue_url, "user")
    run(queue_url)
    return api


def pages(api, path, key, **parameters):
    """All of it, page by page."""
    name, parameters = ("before", parameters) if "batches" in path else ("after", parameters)
    found = api(path, **parameters)
    while found["next"] is not None:
        yield from found[key]
        found = api(path, **parameters | {name: found["next"]})
    yield from found[key]


def test_its_ranges_are_those_of_the_page():
    assert get_args(RangeName) == tuple(RANGES)


def test_it_has_what_the_page_has(drained, empty_warehouse):
    summary = drained("/summary")
    assert summary["verdicts"][0]["name"] == "keeping_up"
    assert summary["situation"]["inserted_today"] == GOOD
    assert drained("/health") | {"as_of": None, "sentence": None} == {
        "alive": True, "keeping_up": True, "all_well": True, "state": "keeping_up", "sentence": None, "as_of": None,
    }  # fmt: skip
    batches = list(pages(drained, "/batches", "batches", limit=1))
    assert [batch["batch_id"] for batch in batches] == [2, 1]
    assert sum(batch["received"] for batch in batches) == MESSAGES
    [reason] = drained("/rejects", range="1h")["reasons"]
    assert reason == {"reason": "user_id: missing", "messages": MESSAGES // 10, "replayable": MESSAGES // 10}
    assert drained("/shared-devices") == {"counted_at": None, "masks": []}
    with empty_warehouse.connect() as warehouse:
        masks = [f"0123abcd:{digit * 64}" for digit in "fe"]
        warehouse.execute(
            "insert into login_etl.shared_masks values ('ip', %s, 2, 5), ('ip', %s, 9, 9), ('ip', '10.1.2.3', 99, 99)",
            masks[::-1],
        )
        [(message_id,)] = warehouse.execute("select message_id from public.user_logins limit 1").fetchall()
    assert [each["mask"] for each in drained("/shared-addresses", limit=2)["masks"]] == masks  # and no address
    trace = drained(f"/messages/{message_id}")
    assert [step["name"] for step in trace["steps"]] == ["sent", "received", "merged"]
    assert drained(f"/messages/{uuid4()}", status=404)["advice"].startswith("No batch has it")


def test_the_logins_of_a_day_are_each_on_one_page(drained, empty_warehouse):
    today = datetime.now(UTC).date()
    found = list(pages(drained, f"/logins/{today}", "logins", limit=5))
    with empty_warehouse.connect() as warehouse:
        rows = warehouse.execute("select to_jsonb(logins) from login_etl.logins as logins").fetchall()
    by_user = {row["user_id"]: row for (row,) in rows}
    assert {login["user_id"]: login for login in found} == by_user
    assert len(found) == len(by_user) == GOOD
    assert drained(f"/logins/{today - timedelta(days=1)}") == {"logins": [], "next": None}


def test_health_tells_alive_from_keeping_up(api, empty_warehouse, monkeypatch):
    assert api("/health", status=503)["title"] == "Nothing to see yet"
    with empty_warehouse.connect(user="pipeline") as warehouse:
        prepare_warehouse(warehouse)
        assert api("/health")["keeping_up"] is api("/health")["all_well"] is False
        assert api("/health")["state"] == "nothing_yet"
        warehouse.execute(
            "insert into login_etl.queue_depths (dag_id, run_id, queue, observed_at) "
            "values ('user_logins', 'r', 'q', now() - interval '1 hour')"
        )
        assert (api("/health")["alive"], api("/health")["keeping_up"], api("/health")["state"]) == (
            True,
            False,
            "silent",
        )
    there = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(there))
    assert api("/health", status=503)["title"] == "The warehouse cannot be asked"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/batches?limit=0", "limit"),
        ("/batches?limit=1001", "limit"),
        ("/batches?before=9223372036854775808", "before"),
        ("/batches?before=x%00", "before"),
        ("/rejects?range=2h", "range"),
        ("/messages/not-one", "message_id"),
        ("/logins/1700000000", "day"),
        ("/logins/2026-02-30", "day"),
        ("/logins/2026-01-31?after=%00", "after"),
        ("/logins/٢٠٢٦-01-31", "day"),
    ],
)
def test_a_wrong_parameter_is_named_and_not_repeated(api, path, names):
    problem = api(path, status=422)
    assert set(problem) == {"status", "title", "advice"}
    assert problem["advice"].startswith(f"{names}: ")
    assert "not-one" not in problem["advice"]


def test_nothing_raw_is_in_any_answer(api, sqs, queue_url):
    ip, device = RAW
    bodies = [json.dumps({"user_id": "ada", "ip": ip, "device_id": device}), f'{{"ip": "{ip}"}}']
    sqs.send_message_batch(
        QueueUrl=queue_url,
        Entries=[{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)],
    )
    run(queue_url)
    paths = ("/summary", "/health", "/batches", "/rejects", f"/logins/{datetime.now(UTC).date()}")
    said = json.dumps([api(path) for path in paths])
    assert "ada" in said  # a login has its user
    assert not any(raw in said for raw in RAW)


def test_what_the_description_allows_is_answered_as_described(drained):
    """schemathesis asks for all that OpenAPI describes, and for what it forbids."""
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", application())
    operations = [each.ok() for each in schema.get_all_operations()]
    assert len(operations) == 8
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        def is_answered(case):
            case.call_and_validate()

        is_answered()


def test_metrics_have_a_secret_of_their_own(drained):
    def refuse():
        raise HTTPException(403)

    with client(require_access=refuse) as prometheus:
        answer = prometheus.get("/metrics", headers={"Authorization": f"Bearer {SECRET}"})
        assert answer.headers["content-type"] == metrics.CONTENT_TYPE
        assert f'user_logins_inserted_total{{dag="user_logins"}} {GOOD}\n' in answer.text
        for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": SECRET}):
            assert prometheus.get("/metrics", headers=headers).status_code == 401
    with client(secret="") as without:
        for headers in ({}, {"Authorization": "Bearer "}):
            answer = without.get("/metrics", headers=headers)
            assert (answer.status_code, "user_logins_metrics" in answer.text) == (404, True)


def test_metrics_of_a_warehouse_that_no_run_has_prepared_are_an_error(empty_warehouse, connected):
    with client() as prometheus:
        answer = prometheus.get("/metrics", headers={"Authorization": f"Bearer {SECRET}"})
        assert answer.status_code == 503
        assert answer.text.startswith("Nothing to see yet: ")

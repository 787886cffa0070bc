"""The page as a browser gets it, from a real warehouse; who may look is decided in tests/system/test_page.py."""

import json
import re
import threading
import time
from base64 import b64encode
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID, uuid4

import psycopg
import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient

from include import pipeline
from include.connections import warehouse_connection
from include.events.message import Origin, Run
from include.failures import SetupError
from include.page import view
from include.page.app import at_most, build, kept
from include.page.ranges import RANGES
from include.page.rendering import HEADERS
from include.page.view import look
from include.release import VERSION
from include.warehouse.setup import prepare_warehouse
from sandbox.events import send
from tests.support.queues import MESSAGES, send_events, show_again
from tests.support.runs import A_RUN

ROOT = "/airflow/user-logins"
RAW = ("203.0.113.77", "canary-device-4711")


def client(open_warehouse=warehouse_connection, require_access=lambda: None, metrics_secret=lambda: ""):
    app = build(
        require_access=require_access,
        require_edit=require_access,
        open_warehouse=open_warehouse,
        metrics_secret=metrics_secret,
        mounted_at="/user-logins",
    )
    return TestClient(app, root_path=ROOT, raise_server_exceptions=False)


@pytest.fixture
def page(empty_warehouse, connected):
    """A browser that asks for the page; `page()` is its text."""
    with client() as browser:

        def read(path="/", status=200):
            answer = browser.get(path)
            assert answer.status_code == status
            assert answer.headers["content-type"].startswith("text/html")
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            return answer.text

        yield read


@pytest.fixture
def drained(sqs, queue_url, page):
    """A run of MESSAGES events, every tenth a bad one."""
    send_events(sqs, queue_url, "user")
    run(queue_url)
    return page


def run(queue_url, name="a run"):
    this = Run("user_logins", name)
    pipeline.check_setup(this, queue_url, source="queue", window=None)
    origin = Origin(this, 2, 1, datetime.now(UTC), queue=queue_url)
    pipeline.drain_and_mask({"messages": 100, "threads": 1}, queue_url, origin=origin, seconds=20)
    pipeline.merge_user_logins(this)


def headline(text):
    return re.search(r'class="headline">(.*?)</p>', text)[1]


def tiles(text):
    return dict(re.findall(r"tile[^>]*><dt>(.*?)</dt><dd>(.*?)</dd>", text))


def steps(text):
    """What became of a message: the sentences in the table."""
    return re.findall(r'<tr><td class="t">[^<]*</td><td>(.*?)</td>', text)


def test_a_run_is_there_with_its_numbers(drained):
    text = drained()
    assert headline(text).startswith("Keeping up, ")
    good, bad = MESSAGES - MESSAGES // 10, MESSAGES // 10
    shown = tiles(text)
    assert (shown["rows today"], shown["rejected today, 10.0 %"]) == (str(good), str(bad))
    assert (shown["left on the queue by the last run"], shown["dead letters"]) == ("0", "0")
    assert f"Messages received, per 1 min: {MESSAGES} in 1 hour" in text  # a first run: the shortest range
    assert f"inserted <b>{good}</b>" in text
    assert "user_id: missing" in text
    cells = re.search(r"<td>all loaded</td>(.*?)</tr>", text, re.DOTALL)[1]
    assert re.findall(r'<td class="n">(\d*)</td>', cells) == [
        str(MESSAGES),
        str(MESSAGES),
        str(good),
        "0",
        str(bad),
        "0",
    ]
    assert 'href="/airflow/dags/user_logins/runs/a%20run/tasks/drain_and_mask/mapped/2"' in text
    assert "Not shown" not in text
    assert f"Version {VERSION}." in text


def test_before_the_first_run_it_says_what_to_do(page):
    assert headline(page(status=503)) == "Nothing to see yet"
    assert "trigger user_logins" in page(status=503)
    assert headline(page(f"/message?id={uuid4()}", status=503)) == "Nothing to see yet"


def test_with_tables_of_before_it_says_what_brings_them_up_to_date(page, empty_warehouse):
    with empty_warehouse.connect(user="pipeline") as warehouse:
        prepare_warehouse(warehouse)
        warehouse.execute("delete from login_etl.schema_migrations where version > 20")
    assert "the next run of user_logins applies them" in page(status=503)


def test_an_empty_warehouse_has_a_page(page, empty_warehouse):
    with empty_warehouse.connect(user="pipeline") as warehouse:
        prepare_warehouse(warehouse)
    text = page()
    assert headline(text) == "Nothing has run yet"
    assert "No messages came in this time" in text
    assert "No run yet" in text
    assert "Not shown" not in text


def test_a_warehouse_that_cannot_be_asked_is_said_without_a_trace(page, monkeypatch):
    there = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "pipeline", "password": "a secret"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(there))
    text = page(status=503)
    assert headline(text) == "The warehouse cannot be asked"
    assert "It does not answer" in text
    assert "a secret" not in text
    monkeypatch.delenv("AIRFLOW_CONN_WAREHOUSE")
    assert "connection warehouse is not defined" in page(status=503)


@pytest.mark.parametrize(
    "error", [ValueError("203.0.113.77"), SetupError("a sentence"), ConnectionError("203.0.113.77")]
)
def test_an_error_says_no_more_than_it_may(error):
    @contextmanager
    def fails():
        raise error
        yield

    text = client(fails).get("/").text
    assert "203.0.113.77" not in text
    assert re.search("ValueError|a sentence|It does not answer", text)


def test_a_table_that_is_locked_hides_its_part_only(drained, empty_warehouse, monkeypatch):
    monkeypatch.setattr(view, "MILLISECONDS", 200)
    with empty_warehouse.connect() as somebody, somebody.transaction():
        somebody.execute("lock login_etl.rejected_messages in access exclusive mode")
        somebody.execute("select from pg_locks")
        started = time.monotonic()
        text = drained(status=503)  # the verdict needs that table
        assert "It did not answer in time" in text
        assert time.monotonic() - started < 10
    with empty_warehouse.connect() as somebody, somebody.transaction():
        somebody.execute("lock login_etl.rebuilds in access exclusive mode")
        text = drained()
        assert headline(text).startswith("Keeping up")
        assert text.count("Not shown: the warehouse did not answer in time") == 1
        assert "rows today" in text


def test_nothing_can_be_written(connected, empty_warehouse):
    with empty_warehouse.connect(user="pipeline") as warehouse:
        prepare_warehouse(warehouse)
    forbidden = pytest.raises(psycopg.errors.ReadOnlySqlTransaction)
    with warehouse_connection() as warehouse, forbidden, view.reading(warehouse):
        warehouse.execute("delete from login_etl.batches")


def test_who_may_not_look_gets_a_page_that_says_why():
    def refuse():
        raise HTTPException(status)

    with client(require_access=refuse) as browser:
        for status, says in ((401, "You are not logged in"), (403, "This page is for who may see the DAG")):
            for path in ("/", "/message?id=x"):
                answer = browser.get(path)
                assert (answer.status_code, says in answer.text) == (status, True)


def test_every_route_but_that_of_metrics_asks_who_it_is():
    def check():
        raise HTTPException(403)

    with client(require_access=check) as browser:
        open_to_all = set()
        for route in browser.app.routes:
            path = route.path.format(message_id=uuid4(), day="2026-01-31")
            if browser.get(path).status_code != 403:
                open_to_all.add(route.path)
            assert browser.post(path).status_code == 405
        assert open_to_all == {"/metrics"}
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert browser.get(path).status_code == 404


def test_nothing_has_to_be_loaded_and_nothing_else_counts(drained, page):
    """Style and script are in each page, also in one for who may load nothing, and have their hashes in the policy."""
    policy = HEADERS["Content-Security-Policy"]
    for text in (drained(), page("/nothing", status=404)):
        loaded = re.findall(r"<(?:link|script|img|iframe)[^>]+(?:href|src)=[^>]+>", text)
        assert loaded == ['<link rel="icon" href="data:,">']
        for name in ("style", "script"):
            [inside] = re.findall(f"<{name}>(.*?)</{name}>", text, re.DOTALL)
            assert f"{name}-src 'sha256-{b64encode(sha256(inside.encode()).digest()).decode()}'" in policy
        assert not re.search(r' (on\w+|style)="', text)


def test_what_is_no_message_id_is_said_to_be_none(page):
    hostile = ["", "x", "' or 1=1", "%00", "%F0%9F%92%A5", "<script>alert(1)</script>", "9" * 9_999, "%0d%0aX: y"]
    for asked in hostile:
        text = page(f"/message?id={asked}", status=400)
        assert headline(text) == "That is no message id"
        assert "<script>alert" not in text


def test_each_range_can_be_chosen_and_any_other_is_the_usual_one(drained):
    for name in RANGES:
        assert f'href="{ROOT}/?range={name}" aria-current="true"' in drained(f"/?range={name}")
    for asked in ("range=", "range=x", "range=%00", "range=x&range=y", f"range={'9' * 5000}", "x=y"):
        assert f'href="{ROOT}/?range=1h" aria-current="true"' in drained(f"/?{asked}")


def test_a_message_is_found_wherever_it_is(drained, empty_warehouse, sqs, queue_url):
    with empty_warehouse.connect() as warehouse:
        [(loaded,)] = warehouse.execute("select message_id from public.user_logins order by user_id limit 1").fetchall()
        [(bad,)] = warehouse.execute("select message_id from login_etl.rejected_messages limit 1").fetchall()
        text = drained(f"/message?id={loaded}")
        assert headline(text).startswith("It is in user_logins, under create_date 20")
        assert steps(text) == ["Sent to SQS", "Received, masked and staged", "Merged into user_logins"]
        assert 'href="/airflow/dags/user_logins/runs/a%20run/tasks/drain_and_mask/mapped/2"' in text
        assert drained(f"/message?id=%20{str(loaded).upper()}").count(str(loaded)) >= 1

        text = drained(f"/message?id={bad}")
        assert "its body is kept, sealed" in headline(text)
        assert steps(text) == ["Sent to SQS", "Rejected: user_id: missing"]

        warehouse.execute("update login_etl.rejected_messages set sealed_body = null, erased_at = now()")
        text = drained(f"/message?id={bad}")
        assert headline(text) == "It was rejected, and its body erased"
        assert steps(text)[-1] == "Its body was erased, because it named a person who was forgotten"

        warehouse.execute("update public.user_logins set user_id = null where message_id = %s", [loaded])
        assert headline(drained(f"/message?id={loaded}")).startswith("It was erased: a row without user and masks")

        warehouse.execute("truncate login_etl.staging_logins")  # as if its day were dropped
        assert steps(drained(f"/message?id={loaded}"))[:2] == ["Received, masked and staged", "Merged into user_logins"]

    assert headline(drained(f"/message?id={uuid4()}")).startswith("No batch has it")


def test_a_message_that_came_again_waits_is_refused_or_was_replayed(page, empty_warehouse, sqs, queue_url, keyring):
    with empty_warehouse.connect() as warehouse:
        pipeline.check_setup(A_RUN, queue_url, source="queue", window=None)
        send(sqs, queue_url, iter([json.dumps({"user_id": "ada"})]))
        seen = sqs.receive_message(QueueUrl=queue_url, VisibilityTimeout=1)["Messages"]
        message_id = UUID(seen[0]["MessageId"])
        show_again(sqs, queue_url, [seen[0]["ReceiptHandle"]])
        origin = Origin(A_RUN, 0, 1, datetime.now(UTC))
        pipeline.drain_and_mask({"messages": 1, "threads": 1}, queue_url, origin=origin, seconds=20)
        assert headline(page(f"/message?id={message_id}")) == "It waits in staging for the merge"

        # As if it had been delivered twice.
        again = "insert into login_etl.batches select (jsonb_populate_record(b, jsonb_build_object('batch_id', 99))).* "
        warehouse.execute("alter table login_etl.batches alter column batch_id set generated by default")
        warehouse.execute(again + "from login_etl.batches b")
        warehouse.execute("update login_etl.staging_logins set batch_id = batch_id")
        warehouse.execute(
            "insert into login_etl.staging_logins select (jsonb_populate_record(s, '{\"batch_id\": 99}')).* "
            "from login_etl.staging_logins s"
        )
        warehouse.execute("alter table public.user_logins add constraint no_ada check (user_id <> 'ada')")
        pipeline.merge_user_logins(A_RUN)
        text = page(f"/message?id={message_id}")
        assert "because user_logins refuses it" in headline(text)
        assert "Refused by user_logins, when it was tried last: CheckViolation (constraint no_ada)" in text

        warehouse.execute("alter table public.user_logins drop constraint no_ada")
        pipeline.merge_user_logins(Run("user_logins", "later"))
        found = steps(page(f"/message?id={message_id}"))
        assert found[0] == "Sent to SQS"
        assert sorted(found[1:]) == [
            "Already there: it had come before",
            "Merged into user_logins",
            "Received, masked and staged",
            "Received, masked and staged",
        ]


def test_nothing_personal_is_on_any_page(page, empty_warehouse, sqs, queue_url):
    ip, device = RAW
    send(sqs, queue_url, iter([json.dumps({"user_id": "ada", "ip": ip, "device_id": device}), f'{{"ip": "{ip}"}}']))
    run(queue_url)
    with empty_warehouse.connect() as warehouse:
        ids = [row[0] for row in warehouse.execute("select message_id from login_etl.staging_logins").fetchall()]
        ids += [row[0] for row in warehouse.execute("select message_id from login_etl.rejected_messages").fetchall()]
    assert len(ids) == 2
    for path in ("/", *(f"/message?id={each}" for each in ids)):
        text = page(path)
        assert not any(raw in text for raw in (*RAW, "ada"))


def test_so_many_ask_at_once_and_no_more():
    entered, go = threading.Semaphore(0), threading.Event()

    @contextmanager
    def slow():
        entered.release()
        go.wait(10)
        yield None

    asking = at_most(2, slow, patience=0.2)

    def ask():
        with asking():
            pass

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
        entered.acquire()
    with pytest.raises(TimeoutError, match="come again"):
        ask()
    go.set()
    for thread in threads:
        thread.join()
    ask()  # there is room again


def test_who_waits_keeps_few_of_the_threads_that_others_need():
    go = threading.Event()

    @contextmanager
    def slow():
        go.wait(10)
        yield None

    asking = at_most(1, slow, patience=5)

    def ask():
        with suppress(TimeoutError), asking():
            pass

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    assert sum(thread.is_alive() for thread in threads) == 2  # one asks, and one waits
    go.set()
    for thread in threads:
        thread.join()


def test_a_secret_is_not_looked_up_for_each_stranger(monkeypatch):
    looked_up = []
    secret = kept(lambda: looked_up.append("") or "secret", seconds=60)
    assert [secret() for _ in range(5)] == ["secret"] * 5
    assert len(looked_up) == 1


def test_tables_without_an_estimate_have_none_and_none_is_negative(empty_warehouse, connected, page):
    with empty_warehouse.connect(user="pipeline") as warehouse:
        prepare_warehouse(warehouse)
        tables = look(warehouse, "1h").panels["tables"].data
        assert [table.rows for table in tables] == [0] * len(tables)
    assert not re.search(r'class="n">-', page())


@pytest.mark.parametrize("zone", ["America/Santiago", "Pacific/Kiritimati"])
def test_times_are_utc_wherever_the_warehouse_is(drained, empty_warehouse, zone):
    """Also days: in the first zone one of them begins at one o'clock."""
    with empty_warehouse.connect() as owner:
        owner.execute(f"alter role pipeline set timezone = '{zone}'")
        [(message_id, sent)] = owner.execute(
            "select message_id, sent_at at time zone 'UTC' from login_etl.staging_logins limit 1"
        ).fetchall()
        owner.execute(
            "insert into public.user_logins (create_date, message_id, batch_id) values ('2026-08-01', %s, 1)", [uuid4()]
        )
        try:
            text = drained(f"/message?id={message_id}")
            assert headline(text).startswith("It is in user_logins")
            assert f"{sent:%Y-%m-%d %H:%M:%S}" in text
            assert (
                abs(datetime.now(UTC) - datetime.fromisoformat(re.search('datetime="(.*?)"', drained())[1])).seconds
                < 60
            )
            assert '+00:00"' in drained()
        finally:
            owner.execute("alter role pipeline reset all")

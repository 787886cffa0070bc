"""`deploy/monitoring`, with a real Prometheus and a real Alertmanager, and what its document says of it."""

import json
import re
import secrets
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
import yaml

from include.batches.depth import record_depth
from include.batches.drain import record_deletes
from include.batches.staging import stage
from include.events.login import Login, RejectedMessage
from include.events.message import Message, Origin, Run
from include.page.metrics import CONTENT_TYPE, METRICS, PREFIX, authorised, exposition
from include.privacy.masking import read_keyring
from include.sqs.calls import Deletes
from include.sqs.dead_letters import Depth
from include.warehouse.setup import prepare_warehouse
from sandbox.servers import RIGHTS, free_port
from tests.support.documents import documented
from tests.support.merging import merge
from tests.support.programs import installed, running
from tests.support.scraping import samples

PROJECT = Path(__file__).parents[2]
MONITORING = PROJECT / "deploy" / "monitoring"
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
PANELS = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
SECRET = "correct horse"
OFTEN = "300ms"
PATIENCE = 20
DATABASE = "monitored"
LOST = ["1999-01-01", uuid4()]  # a date that has no month


def promtool(*arguments, text=""):
    """What promtool says, which must be content."""
    command = [installed("promtool", "prometheus"), *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# What promtool says.


def copy_to(folder):
    """The files, and the secret beside them."""
    copy = shutil.copytree(MONITORING, folder / "monitoring")
    (copy / "metrics_secret").write_text(SECRET)
    return copy


@pytest.fixture
def folder(tmp_path):
    return copy_to(tmp_path)


def test_the_configuration_is_one(folder):
    assert "SUCCESS" in promtool("check", "config", folder / "prometheus.yml")


def test_each_alert_fires_when_it_should_and_not_before(folder):
    _, *test, rules = documented("docs/monitoring.md", "promtool test rules").split()
    assert "SUCCESS" in promtool(*test, folder / rules)


def test_prometheus_starts_as_the_document_says(tmp_path):
    shutil.copytree(MONITORING, tmp_path / "deploy" / "monitoring")
    port = free_port()
    script = [
        documented("docs/monitoring.md", "cd deploy/monitoring"),
        documented("docs/monitoring.md", "printf %s"),
        "exec " + documented("docs/monitoring.md", "prometheus --config.file").replace("9090", str(port)),
    ]
    installed("prometheus")
    command = "\n".join([f"cd {tmp_path}", *script])

    def groups_of_rules():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/rules", timeout=PATIENCE) as answer:
            return json.load(answer)["data"]["groups"]

    with running("sh", "-euc", command, port=port, log=tmp_path / "log"):
        groups = wait_for(groups_of_rules)  # it listens before it answers
    assert {rule["name"] for group in groups for rule in group["rules"]} == ALERTS.keys()
    assert (tmp_path / "deploy" / "monitoring" / "metrics_secret").read_text() == "the secret"


def test_each_alert_is_tested_both_ways():
    tests = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    for fires in (True, False):
        assert {case["alertname"] for case in cases if bool(case.get("exp_alerts")) is fires} == ALERTS.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_says_how_bad_it_is_and_where_to_read_on(name):
    rule = ALERTS[name]
    assert rule["for"]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    path, heading = rule["annotations"]["runbook"].split("#")
    titles = re.findall(r"^#+ (.*)$", (PROJECT / path).read_text(), re.MULTILINE)
    assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_metrics_are_those_that_are_asked_for():
    expressions = [rule["expr"] for rule in ALERTS.values()] + [target["expr"] for _, target in TARGETS]
    asked = set(re.findall(rf"{PREFIX}(\w+)", " ".join(expressions)))
    assert asked == {metric.name for metric in METRICS}  # and none is for nobody


def test_the_document_has_every_metric_and_every_alert():
    text = (PROJECT / "docs" / "monitoring.md").read_text()
    documented = re.findall(
        r"^\| `user_logins_(\w+)` \| (\w+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE
    )
    assert documented == [
        (one.name, one.type, one.unit, ", ".join(f"`{label}`" for label in one.labels) or "none", one.help)
        for one in METRICS
    ]
    assert re.findall(r"^\| `(UserLogins\w+)` \|", text, re.MULTILINE) == list(ALERTS)


# What Prometheus makes of it.


@contextmanager
def http_server(handle):
    """A server on 127.0.0.1; `handle` is given the path, the headers and the body, and returns status, type, body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, kind, answer = handle(self.path, self.headers, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(answer.encode())

        def do_POST(self):
            self.do_GET()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving(local):
    """An API server that serves the metrics, as the page's app does; its secret may be changed."""
    server = SimpleNamespace(secret=SECRET)

    def handle(path, headers, body):
        if path != "/user-logins/metrics":
            return 404, "text/plain", ""
        if not authorised(headers["Authorization"], server.secret):
            return 401, "text/plain", ""
        with local.connect(DATABASE, user="pipeline") as connection:
            return 200, CONTENT_TYPE, exposition(connection)

    with http_server(handle) as server.port:
        yield server


@contextmanager
def watching(folder, target):
    """Prometheus, which scrapes the port `target`, and Alertmanager: to be asked, and what was received of alerts."""
    port, alertmanager, received = free_port(), free_port(), []

    def ask(expression):
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=PATIENCE) as answer:
            found = json.load(answer)["data"]["result"]
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in found}

    def take(path, headers, body):
        received.extend(json.loads(body)["alerts"])
        return 200, "text/plain", ""

    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), OFTEN)
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{alertmanager}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    rules = folder / "alerts.yml"
    rules.write_text(re.sub(r"for: \w+", "for: 0s", rules.read_text()))
    with http_server(take) as sink:
        to = {"name": "sink", "webhook_configs": [{"url": f"http://127.0.0.1:{sink}/"}]}
        route = {"receiver": "sink", "group_wait": "0s", "group_by": ["..."]}
        (folder / "alertmanager.yml").write_text(yaml.safe_dump({"route": route, "receivers": [to]}))
        first = (
            "prometheus-alertmanager",
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{alertmanager}",
            "--cluster.listen-address=",
        )
        second = (
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--rules.alert.resend-delay=1s",  # else one from before it has found Alertmanager comes after a minute
        )
        with (
            running(*first, port=alertmanager, log=folder / "alertmanager.log"),
            running(*second, port=port, log=folder / "prometheus.log"),
        ):
            yield ask, received


def wait_for(something):
    """What it returns once that is something."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            found = something()
        except OSError:
            found = None  # it is starting
        if found:
            return found
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def monitored(local):
    """A warehouse of its own."""
    with local.connect("postgres") as postgres:
        postgres.execute(f"drop database if exists {DATABASE} with (force)")
        postgres.execute(f"create database {DATABASE}")
    with local.connect(DATABASE) as owner:
        owner.execute(RIGHTS.read_text().replace("database warehouse", f"database {DATABASE}").encode())
    with local.connect(DATABASE, user="pipeline") as connection:
        prepare_warehouse(connection)
        yield connection


@pytest.fixture(scope="module")
def drained(monitored):
    """A batch of a DAG with so many logins and rejects, sent so long ago, of which so many could not be deleted."""
    keyring = read_keyring(secrets.token_urlsafe(32))

    def stage_one(dag, logins, rejects, *, age=timedelta(), failed=0):
        sent = datetime.now(UTC) - age
        messages = [Message(uuid4(), sent, 1, "") for _ in range(logins + rejects)]
        rules = RejectedMessage([("user_id", "missing"), ("ip", "string_too_long")])
        batch = stage(
            monitored,
            [(message, Login(f"user {number}")) for number, message in enumerate(messages[:logins])],
            [(message, rules) for message in messages[logins:]],
            keyring=keyring,
            origin=Origin(Run(dag, "a run"), 0, 1, sent),
        )
        record_deletes(monitored, batch, Deletes(batch.received - failed, delete_failed=failed))

    return stage_one


def go_well(warehouse, drained):
    """Two queues, with nothing wrong."""
    for dag in ("user_logins", "partner_logins"):
        record_depth(warehouse, Run(dag, "a run"), "u", Depth(7, 2, 0))
        drained(dag, 100, 1, age=timedelta(seconds=30))
    merge(warehouse)


def go_wrong(warehouse, drained):
    """One queue that nobody has drained for a while, and another whose run has not come to see it."""
    warehouse.execute("alter table public.user_logins add constraint no_first check (user_id <> 'user 0') not valid")
    drained("partner_logins", 10, 100, age=timedelta(hours=1), failed=50)
    merge(warehouse)
    record_depth(warehouse, Run("user_logins", "a run"), "u", Depth(7, 2, 3))
    warehouse.execute("delete from login_etl.queue_depths where dag_id = 'partner_logins'")
    record_depth(warehouse, Run("partner_logins", "the next run"), "u")
    drained("user_logins", 1, 0)
    for what in (
        "batches set merged_at = merged_at - interval '40 minutes' where dag_id = 'user_logins'",
        "batches set staged_at = staged_at - interval '40 minutes' where merged_at is null",
        "queue_depths set observed_at = now() - interval '40 minutes' where dag_id = 'user_logins'",
    ):
        warehouse.execute(f"update login_etl.{what}")
    warehouse.execute("insert into public.user_logins (create_date, message_id, batch_id) values (%s, %s, 1)", LOST)


@pytest.fixture(scope="module")
def seen(local, monitored, drained, tmp_path_factory):
    """What Prometheus and Alertmanager have seen of a warehouse where all was well, and then nothing."""
    folder = copy_to(tmp_path_factory.mktemp("monitoring"))
    alerts = {name: rule["expr"] for name, rule in ALERTS.items()}
    seen = SimpleNamespace()
    with serving(local) as api_server, watching(folder, api_server.port) as (ask, seen.received):
        go_well(monitored, drained)
        wait_for(lambda: ask("sum(user_logins_inserted_total)") == {(): 200})
        drained("user_logins", 100, 1)
        merge(monitored)
        wait_for(lambda: ask("sum(user_logins_inserted_total)") == {(): 300})
        with local.connect(DATABASE, user="pipeline") as connection:
            seen.exposition = exposition(connection)
        seen.well = {target["expr"]: ask(target["expr"]) for _, target in TARGETS}
        seen.quiet = {name: ask(expression) for name, expression in alerts.items()}
        go_wrong(monitored, drained)
        wait_for(lambda: all(ask(expression) for name, expression in alerts.items() if name != "UserLoginsScrapeFails"))
        seen.firing = {name: [dict(key).get("dag") for key in ask(expression)] for name, expression in alerts.items()}
        wait_for(lambda: [one for one in seen.received if one["labels"]["alertname"] == "UserLoginsDeadLetters"])
        api_server.secret = "another"
        seen.locked_out = wait_for(lambda: ask(alerts["UserLoginsScrapeFails"]))
        yield seen


def test_promtool_finds_nothing_wrong_with_a_scrape(seen):
    assert promtool("check", "metrics", text=seen.exposition) == ""


@pytest.mark.parametrize(("title", "target"), TARGETS, ids=lambda value: value if isinstance(value, str) else "")
def test_each_panel_shows_what_is_so(seen, title, target):
    found = seen.well[target["expr"]]
    assert found
    labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
    assert all(labels <= dict(key).keys() for key in found)
    if plain := re.fullmatch(r"max by \(dag\) \(user_logins_(\w+)\)", target["expr"]):
        scraped = samples(seen.exposition)
        assert found == {(("dag", key[1]),): value for key, value in scraped.items() if key[0] == plain[1]}
    if re.search(r"(received|rejected|staged|inserted|deleted)_total\[|broken_rules", target["expr"]):
        assert max(found.values()) > 0


def test_no_alert_fires_while_all_is_well(seen):
    assert {name: found for name, found in seen.quiet.items() if found} == {}


def test_each_alert_sees_what_it_is_for(seen):
    assert seen.firing == {
        "UserLoginsScrapeFails": [],
        "UserLoginsSilent": ["user_logins"],
        "UserLoginsQueueUnseen": ["partner_logins"],
        "UserLoginsBehind": ["partner_logins"],
        "UserLoginsStalled": ["user_logins"],
        "UserLoginsMergeStuck": ["user_logins"],
        "UserLoginsRowsRefused": ["partner_logins"],
        "UserLoginsDeadLetters": ["user_logins"],
        "UserLoginsRejectsMost": ["partner_logins"],
        "UserLoginsDeletesFail": ["partner_logins"],
        "UserLoginsRowsWithoutMonth": [None],
    }
    assert list(seen.locked_out.values()) == [0]  # up


def test_an_alert_reaches_whoever_is_on_call(seen):
    [alert, *_] = [one for one in seen.received if one["labels"]["alertname"] == "UserLoginsDeadLetters"]
    assert alert["labels"] == {"alertname": "UserLoginsDeadLetters", "dag": "user_logins", "severity": "warning"}
    assert alert["annotations"] == {
        "summary": "user_logins: 3 messages are in the dead-letter queue",
        "runbook": "docs/runbook.md#messages-are-in-the-dead-letter-queue",
    }

"""The page in the UI of a real Airflow below a base path: who may look, and what a person in front of Chromium sees."""

import json
import shlex
import subprocess
import time
import urllib.error
from contextlib import suppress
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe

from sandbox.airflow import components
from sandbox.people import Person, with_users
from sandbox.servers import free_port
from tests.support.asking import ask
from tests.support.chromium import chromium, fill_in_login, tab_of
from tests.support.documents import documented
from tests.support.programs import installed
from tests.support.queues import MESSAGES, send_events
from tests.support.warehouses import make_empty

PASSWORD = "a password of these tests"
NAMES = ("ada", "vera", "stranger")
WIDTHS = (420, 900, 1500)
DAG = "/dags/user_logins"


class Airflow:
    """A running Airflow, whose DAG has run once."""

    def __init__(self, address):
        self.address = address
        self.ada, self.vera, self.stranger = (Person(address, name, PASSWORD) for name in NAMES)
        self.page = f"{address}/user-logins"
        self.run_id = None

    def run(self):
        """Trigger the DAG, as soon as Airflow knows it, and wait until it is done."""
        deadline = time.monotonic() + 120
        while True:
            with suppress(urllib.error.HTTPError):
                body = {"logical_date": None, "conf": {}}
                self.run_id = self.run_id or self.ada.ask(f"{DAG}/dagRuns", body)["dag_run_id"]
                if (state := self.ada.ask(f"{DAG}/dagRuns/{quote(self.run_id)}")["state"]) in ("success", "failed"):
                    break
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert state == "success"

    def get(self, path, person=None):
        """Status, type and text of what somebody gets; nobody in particular without a person."""
        return ask(self.page + path, person)


def exported(command):
    """What a shell's `export` sets."""
    name, _, value = shlex.split(command)[1].partition("=")
    return {name: value}


@pytest.fixture(scope="module")
def airflow(local, airflow_home):
    port = free_port()
    address = f"http://127.0.0.1:{port}/airflow"
    make_empty(local)
    client = local.client()
    queue = client.create_queue(QueueName="page")["QueueUrl"]
    send_events(client, queue, "user")
    environment = with_users(airflow_home, NAMES, password=PASSWORD) | {
        "AIRFLOW__CORE__AUTH_MANAGER": "tests.support.strict_auth.StrictAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ada:admin,vera:viewer,stranger:viewer",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW_VAR_USER_LOGINS_QUEUE_URL": queue,
        **exported(documented("docs/monitoring.md", "export AIRFLOW_CONN_USER_LOGINS_METRICS=")),
    }
    with components(environment):
        found = Airflow(address)
        found.run()
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def logged_in(browser, airflow):
    """Where vera, who may only look, has logged in."""
    return tab_of(browser, airflow.address, "vera", PASSWORD).context


@pytest.fixture
def tab(logged_in, airflow):
    tab = logged_in.new_page()
    errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(airflow.address)
    yield tab
    tab.close()
    assert errors == []


def frame_of(tab):
    """The page in Airflow's frame, once it is there."""
    tab.frame_locator("iframe").locator("h1").wait_for()
    return next(frame for frame in tab.frames if frame.parent_frame)


def in_theme(tab, theme):
    tab.evaluate(f"localStorage.setItem('theme', '{theme}')")
    tab.reload()


def findings(frame):
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in Axe().run(frame).response["violations"]]


def test_nobody_sees_it_who_may_not_see_the_dag(airflow):
    for path in ("/", "/message?id=x", "/api/v1/health", "/api/v1/openapi.json"):
        for person, status, says in (
            (None, 401, "You are not logged in"),
            (airflow.stranger, 403, "who may see the DAG user_logins"),
        ):
            answered, kind, text = airflow.get(path, person)
            assert (answered, says in text) == (status, True)
            assert kind.startswith("application/json" if "/api/" in path else "text/html")
    for person in (airflow.vera, airflow.ada):
        status, kind, text = airflow.get("/", person)
        assert (status, kind, "Keeping up" in text) == (200, "text/html; charset=utf-8", True)
        assert json.loads(airflow.get("/api/v1/health", person)[2])["keeping_up"] is True
        described = json.loads(airflow.get("/api/v1/openapi.json", person)[2])
        assert described["servers"] == [{"url": "/airflow/user-logins"}]
        of_users = airflow.get("/api/v1/logins/2026-01-31", person)[0]
        assert of_users == (403 if person is airflow.vera else 200)  # a viewer sees no users
    for path in ("/docs", "/openapi.json"):
        assert airflow.get(path, airflow.ada)[0] == 404
    assert airflow.get("/metrics", airflow.ada)[0] == 401  # it has a secret of its own


def test_programs_ask_as_the_manuals_say(airflow):
    for program in ("curl", "jq"):
        installed(program)
    script = [
        documented("docs/page.md", "token=$(curl"),
        documented("docs/page.md", "curl -s localhost:8080/user-logins/api/v1/health"),
        documented("docs/monitoring.md", "curl --header"),
    ]
    text = (
        "\n".join(script).replace("http://localhost:8080", "localhost:8080").replace("localhost:8080", airflow.address)
    )
    text = text.replace("olga", "vera").replace('"…"', f'"{PASSWORD}"')
    said = subprocess.run(["sh", "-euc", text], check=True, capture_output=True, text=True).stdout
    health, _, metrics = said.partition("}")
    assert json.loads(health + "}")["keeping_up"] is True
    assert f'user_logins_received_total{{dag="user_logins"}} {MESSAGES}' in metrics


def test_the_plugin_is_loaded_without_an_error(airflow):
    assert airflow.ada.ask("/plugins/importErrors")["total_entries"] == 0
    [plugin] = [each for each in airflow.ada.ask("/plugins")["plugins"] if each["name"] == "user_logins"]
    assert plugin["external_views"][0]["href"] == "user-logins/"


def test_from_the_menu_to_the_numbers_and_on_to_the_log(airflow, tab):
    tab.get_by_text("Browse", exact=True).click()
    tab.get_by_role("menuitem", name="User logins").click()
    frame = frame_of(tab)
    assert frame.locator(".headline").inner_text().startswith("Keeping up, ")
    good = MESSAGES - MESSAGES // 10
    assert frame.locator(".tile", has_text="rows today").locator("dd").inner_text() == str(good)
    frame.get_by_role("link", name=airflow.run_id).click()
    tab.wait_for_url(f"**/airflow{DAG}/runs/{quote(airflow.run_id, safe='')}/tasks/check_run**")
    tab.get_by_text(f"received {MESSAGES}, inserted {good}").first.wait_for()
    tab.go_back()
    frame_of(tab).get_by_role("link", name="log 0").click()
    tab.wait_for_url("**/tasks/drain_and_mask/mapped/0**")
    tab.get_by_text("received 10, staged 10").first.wait_for()


def test_the_manual_of_the_dag_leads_to_it(airflow, tab):
    tab.goto(airflow.address + DAG)
    tab.get_by_role("button", name="Dag Docs").click()
    with tab.context.expect_page() as opened:
        tab.get_by_role("link", name="User logins").click()
    opened.value.get_by_text("Keeping up").wait_for()
    assert opened.value.url == f"{airflow.page}/"


def test_a_session_that_has_ended_leads_to_the_login_and_back(airflow, browser):
    tab = browser.new_context().new_page()
    tab.goto(f"{airflow.page}/")
    assert tab.locator(".headline").inner_text() == "You are not logged in"
    assert findings(tab) == []  # with its style, which is within the page
    tab.get_by_role("link", name="Log in").click()
    fill_in_login(tab, "vera", PASSWORD)
    tab.get_by_text("Keeping up").wait_for()
    assert tab.url == f"{airflow.page}/"


def test_a_message_is_looked_up_and_its_address_is_a_link(airflow, tab, local):
    with local.connect() as warehouse:
        [(message_id,)] = warehouse.execute("select message_id from public.user_logins limit 1").fetchall()
    tab.goto(f"{airflow.address}/plugin/user-logins")
    frame = frame_of(tab)
    frame.get_by_label("Where is my message?").fill(str(message_id))
    frame.get_by_role("button", name="Find").click()
    frame.get_by_text("It is in user_logins").wait_for()
    assert findings(frame_of(tab)) == []
    tab.reload()  # the shell keeps where the frame is in its own address
    frame_of(tab).get_by_text("It is in user_logins").wait_for()


def test_it_follows_the_theme_and_axe_finds_nothing(airflow, tab, tmp_path):
    tab.goto(f"{airflow.address}/plugin/user-logins")
    colours = set()
    for theme in ("light", "dark"):
        in_theme(tab, theme)
        frame = frame_of(tab)
        assert frame.evaluate("document.documentElement.className") == theme
        background = "getComputedStyle(document.body).backgroundColor"
        ours = "getComputedStyle(document.documentElement).getPropertyValue('--bg')"
        shell = "getComputedStyle(parent.document.documentElement).getPropertyValue('--chakra-colors-bg')"
        assert frame.evaluate(ours) == frame.evaluate(shell)
        colours.add(frame.evaluate(background))
        assert findings(frame) == []
        for width in WIDTHS:
            tab.set_viewport_size({"width": width, "height": 1100})
            assert not frame.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
            tab.screenshot(path=tmp_path / f"{theme}-{width}.png")
    assert len(colours) == 2
    assert findings(tab.context.new_page().goto(f"{airflow.page}/nothing") and tab.context.pages[-1]) == []


def test_opened_by_itself_it_works_as_well_and_refreshes_without_a_flicker(airflow, tab, local):
    tab.clock.install()
    tab.goto(f"{airflow.page}/?range=1h")
    tab.evaluate("window.stays = true")
    rejected = tab.locator(".tile", has_text="rejected today").locator("dd")
    before = rejected.inner_text()
    with local.connect() as warehouse:
        warehouse.execute(
            "update login_etl.batches set rejected = rejected + 1, received = received + 1 where rejected > 0"
        )
    tab.get_by_label("Where is my message?").focus()
    tab.clock.fast_forward(16_000)
    tab.wait_for_function("before => document.querySelectorAll('.tile dd')[5].innerText !== before", arg=before)
    assert tab.evaluate("window.stays && document.activeElement.id") == "id"
    tab.get_by_role("link", name="7 days").press("Enter")
    tab.wait_for_url("**/user-logins/?range=7d")
    tab.get_by_role("link", name=airflow.run_id).click()
    tab.wait_for_url(f"**/airflow{DAG}/runs/**")


def test_everything_can_be_reached_by_the_keyboard(airflow, tab):
    tab.goto(f"{airflow.page}/")
    reached = set()
    for _ in range(60):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate("document.activeElement.innerText || document.activeElement.id"))
    assert {"User logins", "24 hours", "id", "Find", airflow.run_id, "replay_rejected"} <= reached
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert tab.evaluate(outline) != "none" or tab.evaluate("document.activeElement === document.body")

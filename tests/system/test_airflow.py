"""The DAG through `airflow dags test`, and what of the messages is left anywhere afterwards."""

import base64
import json
import os
import re
import secrets
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from include.batches.drain import drain_and_mask
from include.events.login import RejectedMessage
from include.events.message import Origin, Run
from include.privacy.masking import read_keyring
from include.sqs.calls import Queue, backlog
from include.warehouse.setup import prepare_warehouse
from sandbox.events import sample_events, send
from sandbox.queues import DEAD_LETTERS
from tests.support.leaks import everywhere, leaks
from tests.support.sinks import Smtp, by_mail, sink

PROJECT = Path(__file__).parents[2]
ADDRESSES = ("203.0.113.77", "2001:db8:cafe::77")
DEVICE = "987-65-4321"
USER = "canary-of-a-run"  # not the one whose row another test lets Postgres's log quote
CANARY = {"user_id": USER, "app_version": "1.2.3", "device_type": "ios", "locale": "RU", "device_id": DEVICE}
FLAT, SIX = (json.dumps(CANARY | {"ip": address}) for address in ADDRESSES)
BODIES = [
    FLAT,
    SIX,
    json.dumps({"Type": "Notification", "Message": FLAT}),
    json.dumps({"detail-type": "Login", "detail": json.loads(SIX)}),
]
BAD_BODIES = [
    json.dumps(CANARY | {"ip": ADDRESSES[0], "locale": 5}),
    json.dumps(CANARY | {"ip": list(ADDRESSES)}),
    json.dumps(CANARY | {"device_id": {DEVICE: DEVICE}}),
    json.dumps({"Type": "Notification", "Message": FLAT[:-1]}),
    json.dumps({"x": f"{ADDRESSES} {DEVICE}"}),
    f"{ADDRESSES} {DEVICE}",
    FLAT.replace(USER, "u" * 200),
    FLAT.replace("RU", "\\u0000"),
]


def run_dag(environment, dag="user_logins", **params):
    """`airflow dags test`; returns exit code and output."""
    command = ["airflow", "dags", "test", dag, *(["--conf", json.dumps(params)] if params else [])]
    done = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout.decode()


def told(lineage):
    """What a file of lineage events says of completed tasks: which of them read and wrote which datasets."""
    events = [json.loads(line) for line in lineage.read_text().splitlines()]
    ends = {
        event["job"]["name"]: tuple([each["name"] for each in event[end]] for end in ("inputs", "outputs"))
        for event in events
        if event["eventType"] == "COMPLETE"
    }
    assert len(ends) >= 6
    datasets = [each["namespace"] for event in events for each in (*event["inputs"], *event["outputs"])]
    assert set(datasets) == {"postgres://warehouse:5432"}
    return {job: of_job for job, of_job in ends.items() if any(of_job)}


def test_logins_and_canaries_through_airflow_leave_nothing_raw_anywhere(empty_warehouse, environment, sqs, queue_url):
    bodies = [*sample_events(88, 1), *BODIES, *BAD_BODIES]
    send(sqs, queue_url, iter(bodies))
    lineage = Path(environment["AIRFLOW_HOME"]) / "lineage.json"
    transport = {"type": "file", "log_file_path": str(lineage), "append": True}
    code, output = run_dag(environment | {"AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport)})
    assert code == 0, output[-5000:]
    assert backlog(Queue(sqs, queue_url)) == 0
    assert told(lineage) == {
        "user_logins.drain_and_mask": ([], ["postgres.login_etl.staging_logins"]),
        "user_logins.merge_user_logins": (["postgres.login_etl.staging_logins"], ["postgres.public.user_logins"]),
    }

    counts = {"merged_batches": 2, "inserted": 92, "already_there": 0, "refused": 0, "rebuilt": 0}
    with empty_warehouse.connect() as warehouse, empty_warehouse.connect("airflow") as metadata:
        assert warehouse.execute("select count(*) from public.user_logins").fetchone() == (92,)
        [(extra,)] = metadata.execute("select extra from asset_event order by id desc limit 1").fetchall()
        assert extra == counts
        pushed = metadata.execute("select task_id, value from xcom where dag_id = 'user_logins'").fetchall()
        assert {task_id for task_id, _ in pushed} == {
            "check_setup",
            "plan_drain",
            "drain_and_mask",
            "merge_user_logins",
        }
        labels = metadata.execute("select rendered_map_index from task_instance where task_id = 'drain_and_mask'")
        assert ("100 received, 8 rejected",) in labels.fetchall()
    line = r"received 100, inserted 92, already there 0, refused 0, rejected 8 \((.+ \d+)+\); about 0 left on the queue"
    assert re.search(line, output)

    keys = [empty_warehouse.masking_key(), secrets.token_urlsafe(32)]
    rotated = environment | {"AIRFLOW_CONN_PII_MASKING": json.dumps({"conn_type": "x", "password": ",".join(keys)})}
    code, output_of_rotation = run_dag(rotated, "rotate_masking_key", dry_run=False)
    assert code == 0, output_of_rotation[-5000:]
    with empty_warehouse.connect() as warehouse:
        kid = read_keyring(",".join(keys)).kid
        found = warehouse.execute("select distinct left(masked_ip, 8) from user_logins where masked_ip is not null")
        assert found.fetchall() == [(kid,)]
        assert warehouse.execute("select kid, is_complete from login_etl.masking").fetchall() == [(kid, True)]

    # A value where a mask is due is counted, and not shown. All else is sound, and of the key in use.
    with empty_warehouse.connect() as warehouse:
        warehouse.execute("update public.user_logins set masked_ip = 'misplaced' where user_id = %s", [USER])
        code, output_of_checks = run_dag(environment, "check_user_logins")
        assert code != 0
        failed = "select name, found, checked from login_etl.data_checks where not passed order by name"
        assert warehouse.execute(failed).fetchall() == [("masks_are_masks", 4, 92), ("masks_have_the_key", 4, 92)]
        warehouse.execute("update public.user_logins set masked_ip = null where user_id = %s", [USER])
    assert "Check: masks_are_masks," in output_of_checks
    assert output_of_checks.count("[DAG TEST] running task") == 2  # no retry

    places = everywhere(empty_warehouse, environment)
    places |= {"the output": output.encode(), "the output of the rotation": output_of_rotation.encode()}
    places |= {"the output of the checks": output_of_checks.encode()}
    assert leaks(places, ["misplaced"]) == []
    # The search finds what is there …
    assert leaks(places, [USER, "nonsense"]) == [("the warehouse", USER)]
    assert {place for place, _ in leaks(places, ["drain_and_mask"])} >= {"the metadata database", "the output"}
    # … and none of what must not be.
    events = [json.loads(body) for body in sample_events(88, 1)]
    raw = {event[field] for event in events for field in ("ip", "device_id") if field in event}
    hidden = {*raw, *ADDRESSES, DEVICE, *keys, *(base64.urlsafe_b64decode(key + "=").hex() for key in keys)}
    assert leaks(places, hidden) == []


def test_two_queues_with_a_dag_each_at_once(empty_warehouse, environment, sqs, queue_url, tmp_path):
    """A queue more is a line more. Each row is counted in exactly one event, whoever merges it."""
    dags = tmp_path / "dags"
    dags.mkdir()
    line = 'QUEUES = {"user_logins": QUEUE_URL}'
    text = (PROJECT / "dags" / "user_logins.py").read_text()
    assert line in text
    (dags / "user_logins.py").write_text(text.replace(line, line[:-1] + ', "partner_logins": "partner_queue_url"}'))
    partners = sqs.create_queue(QueueName=f"{queue_url.rsplit('/', 1)[1]}-partners")["QueueUrl"]
    environment |= {"AIRFLOW__CORE__DAGS_FOLDER": str(dags)}
    missing = run_dag(environment, "partner_logins")
    assert missing[0] == 1
    assert "variable partner_queue_url is not set to the URL of a queue" in missing[1]

    environment |= {"AIRFLOW_VAR_PARTNER_QUEUE_URL": partners}
    send(sqs, queue_url, sample_events(100, 1))
    send(sqs, partners, sample_events(200, 2))
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda dag: run_dag(environment, dag), ("user_logins", "partner_logins")))
    for code, output in runs:
        assert code == 0, output[-5000:]
    with empty_warehouse.connect() as warehouse, empty_warehouse.connect("airflow") as metadata:
        assert warehouse.execute("select count(*) from public.user_logins").fetchone() == (99 + 198,)
        accounts = warehouse.execute(
            "select dag_id, queue, received, inserted, already_there, unbalanced_batches from login_etl.history"
        ).fetchall()
        assert sorted(accounts) == [
            ("partner_logins", partners, 200, 198, 0, None),
            ("user_logins", queue_url, 100, 99, 0, None),
        ]
        merged_by = [run for (run,) in warehouse.execute("select distinct merged_by from login_etl.batches")]
        events = metadata.execute(
            "select sum((extra->>'inserted')::int) from asset_event "
            "where source_dag_id || '/' || source_run_id = any(%s)",
            [merged_by],
        )
        assert events.fetchone() == (99 + 198,)


def test_a_run_drains_the_dead_letter_queue_when_told_to(empty_warehouse, airflow_home, sqs):
    dead_letters = sqs.get_queue_url(QueueName=DEAD_LETTERS)["QueueUrl"]
    send(sqs, dead_letters, sample_events(10, 1))
    send(sqs, empty_warehouse.queue_url, sample_events(5, 2))
    code, output = run_dag(airflow_home, source="dead_letter_queue")
    assert code == 0, output[-5000:]
    assert (backlog(Queue(sqs, dead_letters)), backlog(Queue(sqs, empty_warehouse.queue_url))) == (0, 5)
    with empty_warehouse.connect() as warehouse:
        assert warehouse.execute("select count(*) from public.user_logins").fetchone() == (10,)


def test_rejected_messages_are_replayed_and_forgotten(warehouse, local, environment, sqs, queue_url, monkeypatch):
    def too_strict(body):
        raise RejectedMessage([("app_version", "version")])

    prepare_warehouse(warehouse)
    monkeypatch.setattr("include.batches.drain.parse", too_strict)
    send(sqs, queue_url, iter([FLAT, "nonsense"]))
    yesterday, keyring = (
        Origin(Run("user_logins", "yesterday"), 0, 1, datetime.now(UTC)),
        read_keyring(local.masking_key()),
    )
    drain_and_mask(Queue(sqs, queue_url), warehouse, keyring, origin=yesterday, messages=2, seconds=60, threads=1)

    def loaded():
        return warehouse.execute("select user_id from public.user_logins").fetchall()

    code, output = run_dag(environment, "replay_rejected")
    assert code == 0, output[-5000:]
    assert "dry run:" in output
    assert "app_version: version  valid now" in output
    assert loaded() == []

    code, output = run_dag(environment, "replay_rejected", dry_run=False, reasons=["app_version: version"])
    assert code == 0, output[-5000:]
    assert loaded() == [(USER,)]
    with local.connect("airflow") as metadata:
        [(extra,)] = metadata.execute("select extra from asset_event order by id desc limit 1").fetchall()
        assert extra == {"merged_batches": 2, "inserted": 1, "already_there": 0, "refused": 0, "rebuilt": 0}

    warehouse.execute("update login_etl.rejected_messages set rejected_at = now() - interval '30 days'")
    environment["AIRFLOW_VAR_USER_LOGINS_KEEP_REJECTED_DAYS"] = "29"
    code, output = run_dag(environment, "maintain_user_logins")
    assert code == 0, output[-5000:]
    assert "forgot the bodies of 1 messages" in output
    assert re.search(
        r"drop_staging_days +old days +none\n *drop_login_months +old months +kept .*\n"
        r" *count_shared +devices +0 shared\n *count_shared +addresses +0 shared\n"
        r" *forget_rejected_bodies +bodies +1 forgotten\n",
        output,
    )
    assert re.search(r"privacy_upkeep +anchor of the trail +none, because of schema privacy: it is not inst", output)
    assert re.search(r"public.user_logins +6 ", output)  # last, this and three more months; the default one
    places = everywhere(local, environment) | {"the output": output.encode()}
    assert leaks(places, [*ADDRESSES, DEVICE, local.masking_key()]) == []


def test_a_part_of_the_maintenance_that_fails_stops_no_other_and_is_not_hidden(empty_warehouse, environment):
    code, output = run_dag(environment | {"AIRFLOW_VAR_USER_LOGINS_KEEP_STAGING_DAYS": "0"}, "maintain_user_logins")
    assert code != 0
    assert "variable user_logins_keep_staging_days is not a number of days from 1 to 3,650" in output
    assert re.search(
        r"drop_staging_days +failed: see its log\n *drop_login_months .*\n *count_shared .*\n *count_shared .*\n"
        r" *forget_rejected_bodies +bodies +0 forgotten\n",
        output,
    )


def test_an_empty_queue_is_waited_for_and_leftovers_are_merged(warehouse, local, environment, sqs, queue_url):
    keyring = read_keyring(local.masking_key())
    prepare_warehouse(warehouse)
    send(sqs, queue_url, sample_events(10, 1))
    earlier = Origin(Run("user_logins", "an earlier run"), 0, 1, datetime.now(UTC))
    drain_and_mask(Queue(sqs, queue_url), warehouse, keyring, origin=earlier, messages=10, seconds=60, threads=1)

    code, output = run_dag(environment)
    assert code == 0, output[-5000:]
    assert warehouse.execute("select count(*) from public.user_logins").fetchone() == (10,)
    with local.connect("airflow") as metadata:
        states = metadata.execute(
            "select task_id, state from task_instance where run_id = "
            "(select run_id from dag_run order by id desc limit 1)"
        ).fetchall()
    assert dict(states) == {
        "check_setup": "success",
        "wait_for_messages": "skipped",
        "plan_drain": "skipped",
        "drain_and_mask": "skipped",
        "merge_user_logins": "success",
        "check_run": "success",
    }


def test_a_wrong_set_up_fails_at_once_with_one_sentence_and_takes_no_message(
    empty_warehouse, environment, sqs, queue_url
):
    send(sqs, queue_url, sample_events(10, 1))
    with sink(Smtp) as (port, mails):
        alerts = {"AIRFLOW_CONN_USER_LOGINS_ALERTS": by_mail(port)}
        code, output = run_dag(environment | alerts | {"AIRFLOW_CONN_PII_MASKING": '{"conn_type": "generic"}'})
    assert code != 0
    [mail] = mails
    assert mail["Subject"].startswith("user_logins failed: connection pii_masking: the password holds no masking key; ")
    assert "connection pii_masking: the password holds no masking key; make one with" in output
    assert output.count("[DAG TEST] running task") == 1  # no retry, no other task
    assert backlog(Queue(sqs, queue_url)) == 10
    behind = output.rsplit("Traceback (most recent call last)", 1)[1]
    assert "connection pii_masking: the password holds no masking key" in behind.split("SetupError", 1)[1]

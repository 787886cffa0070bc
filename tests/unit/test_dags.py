"""The DAGs as Airflow reads them, without a database."""

import ast
import re
from copy import copy
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.exceptions import ParamValidationError
from airflow.providers.amazon.aws.sensors.sqs import SqsSensor
from airflow.sdk import Asset, RetryAction

from include.alerts import alert, say_last
from include.assets import STAGING_LOGINS, USER_LOGINS
from include.batches.reconciliation import FailedCheck
from include.failures import SetupError
from include.sensor import SqsBacklogSensor
from include.sqs.calls import VISIBILITY_SECONDS

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text()


@pytest.fixture(scope="module")
def bag():
    return DagBag(PROJECT / "dags")


@pytest.fixture(scope="module")
def dag(bag):
    return bag.dags["user_logins"]


def test_every_dag_file_parses(bag):
    assert bag.import_errors == {}
    assert {Path(dag.fileloc).stem for dag in bag.dags.values()} == {
        path.stem for path in (PROJECT / "dags").glob("*.py")
    }


def test_the_readme_lists_the_dags_there_are(bag):
    table = README.split("## DAGs")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(bag.dags)


def test_every_dag_has_a_manual_an_owner_and_tags(bag):
    for dag in bag.dags.values():
        assert dag.doc_md == Path(dag.fileloc).read_text().split('"""')[1]
        assert dag.owner != "airflow"
        assert dag.tags


@pytest.mark.parametrize("path", sorted((PROJECT / "dags").glob("*.py")), ids=lambda path: path.name)
def test_a_task_does_what_the_pipelines_function_of_its_name_does(path):
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    tasks = [node for node in functions if any("task" in ast.unparse(each) for each in node.decorator_list)]
    tasks += [node for node in functions if any("teardown" in ast.unparse(each) for each in node.decorator_list)]
    assert len(tasks) >= 3 or path.stem in ("disclose_pii", "check_user_logins")  # which have operators
    for task in tasks:
        called = re.findall(r"(?:pipeline|maintenance|rotation|erasure|checks)\.(\w+)\(", ast.unparse(task))
        assert called == [task.name]


def test_the_schedule(dag):
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"
    assert dag.timetable.expression == "*/5 * * * *"
    assert dag.catchup is False
    assert dag.max_active_runs == 1


def test_the_order_of_the_tasks(dag):
    downstream = {task.task_id: task.downstream_task_ids for task in dag.tasks}
    assert downstream == {
        "check_setup": {"wait_for_messages", "plan_drain", "drain_and_mask", "check_run"},
        "wait_for_messages": {"plan_drain"},
        "plan_drain": {"drain_and_mask"},
        "drain_and_mask": {"merge_user_logins", "check_run"},
        "merge_user_logins": {"check_run"},
        "check_run": set(),
    }
    # After a skipped sensor, and not after a failed drain; and the last one decides what the run is.
    assert dag.get_task("merge_user_logins").trigger_rule == dag.get_task("check_run").trigger_rule == "none_failed"


def test_the_sensor_takes_nothing_and_gives_up_after_half_a_minute(dag):
    sensor = dag.get_task("wait_for_messages")
    assert isinstance(sensor, SqsSensor)
    assert (sensor.mode, sensor.soft_fail, sensor.deferrable) == ("reschedule", True, False)
    assert sensor.timeout == 30
    assert 10 <= sensor.poke_interval <= 15


def test_the_sensor_cannot_be_made_deferrable():
    assert SqsBacklogSensor(task_id="x", sqs_queue="y", deferrable=True).deferrable is False


@pytest.mark.parametrize(
    ("name", "default", "lowest", "highest"),
    [
        ("max_messages", 100_000, 1, 1_000_000),
        ("max_seconds", 180, 1, 1_800),
        ("max_workers", 4, 1, 32),
        ("max_rejected_percent", 50, 0, 100),
    ],
)
def test_bounds_are_typed_and_bounded(dag, name, default, lowest, highest):
    param = copy(dag.params.get_param(name))  # which keeps what it has resolved, and is the form of others too
    assert param.resolve() == default
    for value in (lowest, highest):
        assert param.resolve(value) == value
    for value in (lowest - 1, highest + 1, "5", None, 1.5):
        with pytest.raises(ParamValidationError):
            param.resolve(value)
    assert f"from {lowest} to {highest:,}" in param.description  # the form itself takes a wrong one for the nearest


def test_the_other_params(dag):
    assert dag.params["source"] == "queue"
    assert dag.params.get_param("source").resolve("dead_letter_queue") == "dead_letter_queue"
    for name, value in (("source", "elsewhere"), ("source", None), ("rebuild_from", 5), ("rebuild_to", True)):
        with pytest.raises(ParamValidationError):
            dag.params.get_param(name).resolve(value)
    assert dag.params["rebuild_from"] is None
    assert dag.params["rebuild_to"] is None


def test_every_param_is_described(bag):
    for dag in bag.dags.values():
        for name in dag.params:
            assert dag.params.get_param(name).description


def test_every_task_retries_with_back_off_and_ends(bag):
    of_their_own = ("drain_and_mask", "approve_disclosure")
    for task in (task for dag in bag.dags.values() for task in dag.tasks if task.task_id not in of_their_own):
        assert task.retries == 3
        assert task.retry_exponential_backoff
        assert task.execution_timeout


def test_a_failure_is_said_in_the_log_and_told_once_a_run(bag):
    for dag in bag.dags.values():
        assert dag.on_failure_callback is alert
        for task in dag.tasks:
            assert task.on_failure_callback in (say_last, [say_last])


def test_a_request_is_not_asked_again_by_itself_and_ends(bag):
    """A retry would wipe the answer, and an answer by default would be nobody's."""
    [task] = bag.dags["disclose_pii"].tasks
    assert (task.retries, task.defaults, task.downstream_task_ids) == (0, None, set())
    assert task.response_timeout == timedelta(days=3) < bag.dags["disclose_pii"].dagrun_timeout


def test_what_is_asked_for_is_checked_when_it_is_triggered(bag):
    params = bag.dags["disclose_pii"].params
    mask = "0123abcd:" + "0" * 64
    good = {"case": "C-1/2.b_", "reason": "a customer's chargeback", "masked": [mask] * 100}
    for name, value in good.items():
        assert params.get_param(name).resolve(value) == value
    assert params.get_param("masked").resolve(None) is None
    for name, values in {
        "case": ["", "a b", "-1", "C" * 65, "C-1\n", "`C`", None],
        "reason": [
            "too short",
            "a line\nand another",
            "a reason, a line feed\n",
            "`# APPROVED by legal",
            "\u2028" * 10,
            None,
        ],
        "masked": [[mask] * 101, [mask + "\n"], ["x"], [mask.upper()], mask],
    }.items():
        for value in values:
            with pytest.raises(ParamValidationError):
                params.get_param(name).resolve(value)


def test_a_drain_is_tried_again_when_the_queue_shows_its_messages_again(dag):
    drain = dag.get_task("drain_and_mask")
    assert drain.retries == 1
    assert not drain.retry_exponential_backoff
    assert drain.retry_delay > timedelta(seconds=VISIBILITY_SECONDS)
    assert drain.max_retry_delay == drain.retry_delay
    longest = timedelta(seconds=dag.params.get_param("max_seconds").schema["maximum"])
    assert drain.execution_timeout >= longest + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (SetupError("x"), RetryAction.FAIL),
        (FailedCheck("x"), RetryAction.FAIL),
        (psycopg.errors.InsufficientPrivilege("x"), RetryAction.FAIL),
        (psycopg.errors.CheckViolation("x"), RetryAction.FAIL),
        (psycopg.errors.DeadlockDetected("x"), RetryAction.DEFAULT),
        (psycopg.OperationalError("x"), RetryAction.DEFAULT),
        (ConnectionError("x"), RetryAction.DEFAULT),
    ],
)
def test_what_a_retry_cannot_fix_fails_at_once(bag, error, action):
    for task in (task for dag in bag.dags.values() for task in dag.tasks if task.retries):
        assert task.retry_policy.evaluate(error, 1, 3).action is action


def lineage(dag, ends):
    """What each task of a DAG has at its `inlets` or `outlets`; a task that is mapped, too."""
    found = {
        task.task_id: getattr(task, ends, None) or getattr(task, "partial_kwargs", {}).get(ends) for task in dag.tasks
    }
    return {task_id: sorted(each.name for each in there) for task_id, there in found.items() if there}


@pytest.mark.parametrize(
    ("name", "stages"), [("user_logins", "drain_and_mask"), ("replay_rejected", "replay_messages")]
)
def test_only_the_merge_announces_the_table(bag, name, stages):
    """Staging is for lineage only: it is no asset, so no drain has an event, and no DAG can be scheduled on it."""
    outlets = {stages: ["login_etl.staging_logins"], "merge_user_logins": ["user_logins"]}
    assert lineage(bag.dags[name], "outlets") == outlets
    assert lineage(bag.dags[name], "inlets") == {"merge_user_logins": ["login_etl.staging_logins"]}
    assert not isinstance(STAGING_LOGINS, Asset)


def test_the_checks_are_made_when_something_was_loaded(bag):
    dag = bag.dags["check_user_logins"]
    assert dag.timetable.asset_condition.objects == (USER_LOGINS,)
    assert dag.max_active_runs == 1  # events that come meanwhile make one run
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "count_faults": {"check_faults"},
        "check_faults": set(),
    }
    assert not dag.get_task("check_faults").retry_on_failure
    param = dag.params.get_param("max_unknown_percent")
    assert (param.resolve(0), param.resolve(100)) == (0, 100)
    for value in (-1, 101, "5", None, 1.5):
        with pytest.raises(ParamValidationError):
            param.resolve(value)


def test_the_checks_in_the_dag_are_those_of_the_statement(bag):
    statement = (PROJECT / "include" / "sql" / "checks" / "count_faults.sql").read_text()
    counted = re.findall(r"\(\s*'(\w+)',", statement.split("values")[1])
    assert list(bag.dags["check_user_logins"].get_task("check_faults").checks) == counted
    assert re.findall(r"\* \*\*`(\w+)`", bag.dags["check_user_logins"].doc_md) == counted


def test_the_assets_name_and_uri_stay(bag):
    """DAGs elsewhere are scheduled on them, and Airflow fails the tasks of two assets with one name and two URIs."""
    ends = [end for dag in bag.dags.values() for task in dag.tasks for end in (*task.inlets, *task.outlets)]
    assert {(asset.name, asset.uri) for asset in ends if isinstance(asset, Asset)} == {
        ("user_logins", "postgres://warehouse:5432/postgres/public/user_logins")
    }


def test_a_replay_is_triggered_by_hand_and_is_a_dry_run_unless_told_otherwise(bag):
    dag = bag.dags["replay_rejected"]
    assert dag.timetable.can_be_scheduled is False
    assert dag.params["dry_run"] is True
    assert {name: dag.params[name] for name in ("reasons", "rejected_from", "rejected_to")} == dict.fromkeys(
        ("reasons", "rejected_from", "rejected_to")
    )
    assert dag.params.get_param("reasons").resolve(["ip: string_type"]) == ["ip: string_type"]
    for name, value in (("dry_run", None), ("dry_run", "no"), ("limit", 0), ("reasons", "ip"), ("rejected_to", 5)):
        with pytest.raises(ParamValidationError):
            dag.params.get_param(name).resolve(value)
    assert dag.get_task("replay_messages").downstream_task_ids == {"merge_user_logins", "check_run"}


def test_maintenance_runs_daily(bag):
    dag = bag.dags["maintain_user_logins"]
    assert dag.timetable.expression == "0 0 * * *"
    assert dag.catchup is False


def test_the_parts_of_the_maintenance_stop_none_of_each_other_and_its_report_hides_no_failure(bag):
    dag = bag.dags["maintain_user_logins"]
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "make_partitions": {"report"},
        "drop_staging_days": {"report"},
        "drop_login_months": {"count_shared", "report"},
        "count_shared": {"report"},
        "forget_rejected_bodies": {"report"},
        "privacy_upkeep": {"report"},
        "add_up_batches": {"report"},
        "report": set(),
    }
    assert dag.get_task("count_shared").trigger_rule == "all_done"
    report = dag.get_task("report")
    assert report.is_teardown  # a leaf that runs after a failure, and does not make the run a success
    assert not report.on_failure_fail_dagrun


def test_an_erasure_is_told_no_user_and_goes_one_way(bag):
    dag = bag.dags["erase_users"]
    assert list(dag.params) == ["dry_run"]
    assert dag.params["dry_run"] is True
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "plan_erasure": {"raise_tombstones", "forget_bodies", "erase_rows"},
        "raise_tombstones": {"forget_bodies"},
        "forget_bodies": {"erase_rows"},
        "erase_rows": set(),
    }


def test_retentions_are_read_when_a_task_runs(bag):
    dag = bag.dags["maintain_user_logins"]
    days = {name: dag.get_task(name).op_args for name in ("drop_staging_days", "forget_rejected_bodies")}
    assert days == {
        "drop_staging_days": ("{{ var.value.get('user_logins_keep_staging_days', '30') }}",),
        "forget_rejected_bodies": ("{{ var.value.get('user_logins_keep_rejected_days', '30') }}",),
    }

"""What there is besides messages: a run that finds none, and the parsing of the DAG files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.bench import Bench, fresh, interleaved
from benchmarks.figures import Figure, Section, Table, absolute, growth, number
from sandbox.servers import PROJECT

ROUNDS = 5
EMPTY_ROUNDS = 3  # of four tasks each
AIRFLOW = """
from airflow.providers.amazon.aws.hooks.sqs import SqsHook
from airflow.providers.amazon.aws.sensors.sqs import SqsSensor
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import Asset, BaseHook, ExceptionRetryPolicy
"""
SQS = "SqsHook('aws_sqs').get_conn()"
WAREHOUSE = "PostgresHook('warehouse').get_conn().close()"
RUN = "from include import pipeline; from include.events.message import Run"
SENSOR = """
from include.sensor import SqsBacklogSensor
SqsBacklogSensor(task_id='wait', aws_conn_id='aws_sqs', sqs_queue={url!r}).poke({{}})
"""
# What each task of an empty run does, and the clients and connections that it cannot do without.
TASKS = {
    "check_setup": (
        f"{RUN}; pipeline.check_setup(Run('user_logins', 'benchmark'), {{url!r}}, source='queue', window=None)",
        f"BaseHook.get_connection('pii_masking'); {SQS}; {WAREHOUSE}",
    ),
    "wait_for_messages": (
        SENSOR,
        SQS,
    ),
    "merge_user_logins": (
        f"{RUN}; pipeline.merge_user_logins(Run('user_logins', 'benchmark'))",
        WAREHOUSE,
    ),
    "check_run": (
        f"{RUN}; pipeline.check_run(Run('user_logins', 'benchmark'), 'queue', {{url!r}}, drained=[])",
        WAREHOUSE,
    ),
}
EMPTY_DAG = """
from airflow.sdk import dag

@dag(schedule=None)
def empty():
    pass

empty()
"""


def section(bench: Bench) -> Section:
    """The tasks of an empty run, then each DAG file."""
    bench.empty()
    bench.stub.load(0)
    fresh(AIRFLOW, "")  # compiles what it imports
    rows, floor, ours = [], 0.0, 0.0
    for task, (code, least) in TASKS.items():
        taken = interleaved(
            bench.size(EMPTY_ROUNDS, 1),
            floor=partial(bench.cpu, AIRFLOW, least),
            ours=partial(bench.cpu, AIRFLOW, code.format(url=bench.stub.queue_url)),
        )
        rows.append([f"`{task}`", number(taken["floor"] * 1000), number(taken["ours"] * 1000)])
        floor, ours = floor + taken["floor"], ours + taken["ours"]
    empty_run = absolute("an empty run, CPU beyond Airflow's", floor, ours, "s", at_most=0.3, beyond=floor)
    return Section(
        [empty_run, *(_parsing(bench, path) for path in sorted((PROJECT / "dags").glob("*.py")))],
        [Table(("task", "floor, CPU ms", "ours, CPU ms"), rows)],
    )


def _parsing(bench: Bench, path: Path) -> Figure:
    floor = bench.local.home / f"empty_{path.name}"
    floor.write_text("\n".join(sorted(set(airflow_imports(path)))) + EMPTY_DAG)
    taken = interleaved(bench.size(ROUNDS, 1), floor=partial(parse, bench, floor), ours=partial(parse, bench, path))
    name = f"parsing {path.name} against an empty DAG file"
    return growth(name, taken["floor"], taken["ours"], "s", at_most=1.3)


def parse(bench: Bench, path: Path) -> float:
    """CPU seconds in which a new interpreter executes a DAG file."""
    return bench.cpu("import runpy", f"runpy.run_path({str(path)!r})")


def airflow_imports(path: Path) -> Iterator[str]:
    """The statements that import from Airflow in a file, and in ours that it imports."""
    for node in _imports(path):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        if modules[0].startswith("airflow"):
            yield ast.unparse(node)
        for module in modules:
            names = [alias.name for alias in node.names] if module == "include" else [""]
            for name in names:
                ours = PROJECT.joinpath(*module.split("."), name).with_suffix(".py")
                if ours.exists():
                    yield from airflow_imports(ours)


def _imports(path: Path) -> Iterator[ast.Import | ast.ImportFrom]:
    """Those that are executed: not what only a type checker sees."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import | ast.ImportFrom) and "__future__" not in ast.unparse(node):
            yield node

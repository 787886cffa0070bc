"""The picture in docs/architecture.md is of this project: its tasks, its folders, and who imports whom."""

from pathlib import Path

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag

from tests.support.imports import imports
from tests.support.mermaid import PROJECT, flowchart, reduced

PICTURE = flowchart("architecture.md")
INCLUDE = PROJECT / "include"
FOLDERS = {path.name for path in INCLUDE.glob("[!_]*/")}
CODE = {"dags/", "plugins/", "include/*.py"} | {f"include/{name}/" for name in FOLDERS}
LEFT_OUT = {"failures", "release"}  # which everybody may import, and which import nothing
PEOPLE = {"privacy_analyst", "privacy_officer"}


@pytest.fixture(scope="module")
def dag():
    return DagBag(PROJECT / "dags" / "user_logins.py").dags["user_logins"]


def node(module):
    """The box of a module of ours, by its dotted name; None for one that has none."""
    top, *below = module.split(".")
    if top != "include":
        return f"{top}/"
    return f"include/{below[0]}/" if below[0] in FOLDERS else None if below[0] in LEFT_OUT else "include/*.py"


def arrows(path: Path):
    """From the box of a file to those of what it imports, and to the statements where it names their folder."""
    source = path.read_text()
    modules = [module for module in imports(source) if module.startswith("include.")]
    own = node(".".join(path.relative_to(PROJECT).with_suffix("").parts))
    others = {node(module) for module in modules} | ({"include/sql/"} if '"sql"' in source else set())
    return {(own, other) for other in others - {own, None}}


def test_the_tasks_and_their_order_are_those_of_the_dag(dag):
    tasks = {task.task_id for task in dag.tasks}
    assert PICTURE.nodes["airflow"] == tasks
    order = {(task.task_id, behind) for task in dag.tasks for behind in task.downstream_task_ids}
    assert PICTURE.between(tasks, tasks) == reduced(order)


def test_the_table_that_a_task_reads_is_the_one_that_the_dag_names(dag):
    read = {(table.name, task.task_id) for task in dag.tasks for table in getattr(task, "inlets", [])}
    assert PICTURE.between(PICTURE.nodes["postgres"], PICTURE.nodes["airflow"]) == read


def test_the_folders_are_those_there_are():
    assert PICTURE.nodes["code"] == CODE


def test_who_imports_whom_is_what_the_files_import():
    files = [path for folder in ("dags", "plugins", "include") for path in (PROJECT / folder).rglob("*.py")]
    assert PICTURE.between(CODE, CODE) == reduced(set().union(*map(arrows, files)))


def test_every_box_and_arrow_is_of_a_kind_that_is_checked():
    """Here, and with a real queue and database in tests/integration/test_architecture.py."""
    airflow, postgres = PICTURE.nodes["airflow"], PICTURE.nodes["postgres"]
    assert PICTURE.nodes.keys() == {None, "airflow", "postgres", "code"}
    assert PICTURE.nodes[None] == PEOPLE | {"SQS queue"}
    checked = [(airflow, airflow), (postgres, airflow), (CODE, CODE)]
    checked += [({"SQS queue"}, airflow), (airflow, postgres), (postgres, PEOPLE)]
    assert PICTURE.arrows == set().union(*(PICTURE.between(*ends) for ends in checked))


def test_what_runs_where_are_the_services_of_compose():
    """Those that stay up; `seed` is run by hand, the others end."""
    section = (PROJECT / "docs" / "architecture.md").read_text().split("## What runs where")[1].split("\n## ")[0]
    named = {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}
    services = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())["services"]
    assert named == {name for name, service in services.items() if service.get("restart") == "unless-stopped"}

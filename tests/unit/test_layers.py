"""The layers, as a rule: who may import whom."""

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
JOINS_HOOKS_TO_LOGIC = {"connections.py", "retries.py", "sensor.py"}
FORBIDDEN = {
    "include": {"benchmarks", "dags", "plugins", "sandbox", "tests", "user_logins"},
    "dags": {"benchmarks", "sandbox", "tests"},
    "sandbox": {"airflow", "benchmarks", "deploy", "include", "dags", "plugins", "tests"},
    "deploy": {"airflow", "benchmarks", "include", "dags", "plugins", "tests"},
    "benchmarks": {"tests"},
}
FILES = [path for folder in FORBIDDEN for path in sorted((PROJECT / folder).rglob("*.py"))]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports break in plugins"
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_layer_imports_only_what_it_may(path):
    folder = path.relative_to(PROJECT).parts[0]
    forbidden = set(FORBIDDEN[folder])
    if folder == "include" and path.name not in JOINS_HOOKS_TO_LOGIC:
        forbidden.add("airflow")
    assert not forbidden & set(imports(path))


def test_the_walk_found_the_layers():
    assert len(FILES) > 20


@pytest.mark.parametrize("path", sorted((PROJECT / "dags").glob("*.py")), ids=lambda path: path.name)
def test_a_dag_file_is_a_table_of_contents(path):
    assert len(path.read_text().splitlines()) < 100

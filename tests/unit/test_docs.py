"""What the documents say of the tests, and of each other."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
PROMISES = {
    "Nothing lost",
    "Nothing twice",
    "No raw PII at rest",
    "It adds up",
    "It ends",
    "One bad message harms nobody",
}


def names_of_tests():
    for path in (PROJECT / "tests").rglob("test_*.py"):
        yield from (node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_is_named_exists(path):
    named = set(re.findall(r"`(test_\w+)`", path.read_text()))
    assert named <= set(names_of_tests())


def test_every_promise_names_its_tests():
    lines = (PROJECT / "docs" / "reliability.md").read_text().splitlines()
    rows = [line.split("|") for line in lines if line.startswith("| ") and "`test_" in line]
    assert {row[1].strip(" *") for row in rows} - {""} == PROMISES
    assert all(re.fullmatch(r" (`test_\w+`(, )?)+ ", row[3]) for row in rows)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []

"""What the documents say of the tests, and of each other."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from include.page.states import STATES

PROJECT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(PROJECT.glob("*.md")), *sorted((PROJECT / "docs").glob("*.md"))]
LISTED = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=PROJECT, check=True, capture_output=True)
FILES = set(LISTED.stdout.decode().splitlines())
FOLDERS = {f"{folder}/" for file in FILES for folder in Path(file).parents}
SUFFIXES = "cfg|css|example|jinja|js|json|lock|md|png|py|sql|svg|toml|txt|yaml|yml"
OF_OTHERS = {"airflow.cfg", "site.yaml"}
POSTGRES = "canceling statement due to lock timeout"  # says Postgres, not we
PROMISES = {
    "Nothing lost",
    "Nothing twice",
    "No raw PII at rest",
    "It adds up",
    "It ends",
    "One bad message harms nobody",
}


@cache
def names_of_tests():
    trees = [ast.parse(path.read_text()) for path in (PROJECT / "tests").rglob("test_*.py")]
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_is_named_exists(path):
    named = set(re.findall(r"`(test_\w+)`", path.read_text()))
    assert named <= names_of_tests()


def test_every_promise_names_its_tests():
    lines = (PROJECT / "docs" / "reliability.md").read_text().splitlines()
    rows = [line.split("|") for line in lines if line.startswith("| ") and "`test_" in line]
    assert {row[1].strip(" *") for row in rows} - {""} == PROMISES
    assert all(re.fullmatch(r" (`test_\w+`(, )?)+ ", row[3]) for row in rows)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_and_folder_that_is_named_exists(path):
    """By its path, or the end of it; of what others make, such as `plugins.zip`, only the suffixes below are ours."""
    named = set(re.findall(rf"`([\w.-][\w./-]*(?:\.(?:{SUFFIXES})|/))`", path.read_text())) - OF_OTHERS
    assert [name for name in named if not any(f"/{each}".endswith(f"/{name}") for each in FILES | FOLDERS)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_picture_is_there_and_small(path):
    for picture in re.findall(r'(?:src|srcset)="([^"]+)"', path.read_text()):
        assert (path.parent / picture).stat().st_size < 150_000


def test_the_readme_is_short():
    assert len((PROJECT / "README.md").read_text().splitlines()) <= 120


def test_every_document_is_found_from_the_readme():
    linked = set(re.findall(r"\]\((docs/\w+\.md)\)", (PROJECT / "README.md").read_text()))
    assert linked == {str(path.relative_to(PROJECT)) for path in (PROJECT / "docs").glob("*.md")}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_heading_that_is_linked_exists(path):
    for target, heading in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", path.read_text()):
        text = (path.parent / target if target else path).read_text()
        assert heading in {
            re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
            for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }


def test_the_sentences_in_the_runbook_are_those_of_the_code():
    """What is quoted in the column `you see`: each piece between dots stands in a message of the code."""
    code = " ".join(
        re.sub(r"\"\s*f?\"", "", path.read_text())
        for folder in ("include", "dags")
        for path in (PROJECT / folder).rglob("*.py")
    )
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \|$", (PROJECT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    quoted = [quote for row in rows for quote in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) >= 6
    for quote in quoted:
        for piece in filter(None, (piece.strip() for piece in quote.split("…"))):
            assert piece in code or piece == POSTGRES, quote


def test_the_states_in_the_manual_of_the_page_are_those_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", (PROJECT / "docs" / "page.md").read_text(), re.MULTILINE)
    assert rows == [(state.name, state.tone) for state in STATES]

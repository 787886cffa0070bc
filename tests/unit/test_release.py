"""The version stands in one place, and is said where somebody looks for it; so does the licence."""

import io
import re
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from include import pipeline
from include.doctor import Examination, show
from include.page.rendering import TEMPLATES
from include.release import VERSION
from tests.support.runs import A_RUN

PROJECT = Path(__file__).parents[2]
CHANGELOG = (PROJECT / "CHANGELOG.md").read_text()


def test_the_changelog_begins_with_the_version():
    first = CHANGELOG.split("\n## ")[1].splitlines()[0]
    assert re.fullmatch(rf"{re.escape(VERSION)} - (Unreleased|\d{{4}}-\d\d-\d\d)", first)


def test_each_change_is_in_a_section_that_a_reader_knows():
    for version in CHANGELOG.split("\n## ")[1:]:
        title, *sections = version.split("\n### ")
        assert "- " not in title.split("\n", 1)[1]
        names = [section.splitlines()[0] for section in sections]
        known = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
        assert names == [name for name in known if name in names]
        assert all("\n- " in section for section in sections)


def test_the_log_of_check_setup_says_it_also_where_the_set_up_is_wrong(caplog, monkeypatch):
    def refuse():
        raise ConnectionError

    monkeypatch.setattr(pipeline, "warehouse_connection", refuse)
    with caplog.at_level("INFO", "include"), pytest.raises(ConnectionError):
        pipeline.check_setup(A_RUN, "", source="queue", window=None)
    assert caplog.messages == [f"user_logins {VERSION}"]


def test_the_doctor_says_it_first():
    said = io.StringIO()
    show(Examination(), Console(file=said))
    assert said.getvalue().splitlines()[0] == f"user_logins {VERSION}"


def test_the_page_says_it_last():
    source = (Path(TEMPLATES.loader.searchpath[0]) / "page.html.jinja").read_text()
    [line] = [line for line in source.splitlines() if "{{ version }}" in line]
    assert TEMPLATES.from_string(line[line.index("Version") :]).render() == f"Version {VERSION}.</p>"


def test_the_project_has_a_name_and_a_licence_and_is_nothing_to_install():
    content = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    project = content["project"]
    assert project["license"] == "Apache-2.0"
    assert f"The licence is {project['license']}." in (PROJECT / "README.md").read_text()
    assert project["dynamic"] == ["version"]
    assert not {"dependencies", "optional-dependencies", "scripts"} & project.keys()  # the locks have them
    assert "build-system" not in content
    [lowest, highest] = re.findall(r"\(3, (\d+)\)", (PROJECT / "Makefile").read_text())
    assert project["requires-python"] == f">=3.{lowest},<3.{int(highest) + 1}"

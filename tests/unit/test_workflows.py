"""What runs for each change: the workflow, its actions, and what keeps them up to date."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.support.compose_files import FILES

PROJECT = Path(__file__).parents[2]
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").iterdir())
TEXTS = {path.name: path.read_text() for path in WORKFLOWS}
MAKEFILE = (PROJECT / "Makefile").read_text()
CI_RUN = (PROJECT / ".ci" / "run").read_text()
JOBS = [
    pytest.param(job, id=f"{name}-{key}")
    for name, text in TEXTS.items()
    for key, job in yaml.safe_load(text)["jobs"].items()
]


def commands(job):
    return [line.strip() for step in job["steps"] if "run" in step for line in step["run"].splitlines()]


def made(text):
    return re.findall(r"^\s*(?:- run: )?make ([a-z-]+(?: [A-Z]+=\w+)*)$", text, re.MULTILINE)


@pytest.mark.parametrize("job", JOBS)
def test_a_job_is_a_target_of_the_makefile(job):
    *preparation, last = commands(job)
    [made_last] = made(last)
    target, *variables = made_last.split()
    [recipe] = re.findall(rf"^{target}:.*\n(?:\t.*\n)+", MAKEFILE, re.MULTILINE)
    assert all(f"$({variable.split('=')[0]})" in recipe for variable in variables)
    assert all(command.startswith("sudo apt-get ") for command in preparation)


def test_nothing_that_a_fresh_clone_must_pass_is_left_out():
    assert {"check", "test", "smoke"} | {"install"} == set(made(CI_RUN))
    assert {"check", "test", "smoke", "smoke IMAGE=1", "lock-check"} == set(made(TEXTS["ci.yaml"]))


def test_the_tests_have_the_programs_that_they_start():
    [programs] = re.findall(r"^for program in ([\w -]+); do", CI_RUN, re.MULTILINE)
    [packages] = re.findall(r"apt-get install -y -q --no-install-recommends (.*)", TEXTS["ci.yaml"])
    assert {*packages.split(), "chromium"} == set(programs.split())  # GitHub's machines have that; Ubuntu's is a snap


def test_each_python_is_tested_that_the_makefile_takes():
    [lowest, highest] = re.findall(r"\(3, (\d+)\)", MAKEFILE)
    tested = yaml.safe_load(TEXTS["ci.yaml"])["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert tested == [f"3.{minor}" for minor in range(int(lowest), int(highest) + 1)]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_an_action_is_pinned_by_its_commit_and_says_its_version(text):
    uses = re.findall(r"\buses: *(.*)", text)
    assert uses
    assert [each for each in uses if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_workflow_may_only_read(text):
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert not [job for job in workflow["jobs"].values() if "permissions" in job]
    assert "secrets" not in text
    assert set(workflow[True]) <= {"push", "pull_request"}  # True is how YAML 1.1 reads the key `on`


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_and_keeps_no_credentials(job):
    assert 5 <= job["timeout-minutes"] <= 60
    checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert [step["with"]["persist-credentials"] for step in checkouts] == [False]


def test_the_tests_have_the_commits_of_earlier_versions():
    """A clone that lacks one skips what needs it."""
    [tests] = [job for job in yaml.safe_load(TEXTS["ci.yaml"])["jobs"].values() if "make test" in commands(job)]
    assert [step["with"]["fetch-depth"] for step in tests["steps"] if "checkout@" in step.get("uses", "")] == [0]


def test_each_file_with_images_is_kept_up_to_date():
    """The images of Airflow and moto have the versions of their packages, so all of it comes in one group."""
    renovate = json.loads((PROJECT / "renovate.json").read_text())
    patterns = [r"(^|/)(?:docker-)?compose[^/]*\.ya?ml$"]  # Renovate's own
    patterns += [each.strip("/") for each in renovate["docker-compose"]["managerFilePatterns"]]
    assert all(any(re.search(pattern, name) for pattern in patterns) for name in FILES)
    files = (path.name for path in (PROJECT / "deploy" / "image").iterdir())
    assert [name for name in files if re.search(r"(^|/|\.)([Dd]ocker|[Cc]ontainer)file$", name)] == ["Dockerfile"]
    assert {"docker-compose", "dockerfile", "pip_requirements"} <= set(renovate["enabledManagers"])
    assert [rule["groupName"] for rule in renovate["packageRules"] if rule["matchPackageNames"] == ["*"]]
    assert [rule["matchPackageNames"] for rule in renovate["packageRules"] if not rule.get("enabled", True)] == [
        ["user_logins"]
    ]


def test_a_commit_is_checked_as_a_change_is():
    [repository] = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == ["make check"]

"""The image of deploy/image, checked without an engine: what is copied into it, and what it says of itself."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from include.release import VERSION
from tests.support.compose_files import BASE, PROJECT, services

FOLDER = PROJECT / "deploy" / "image"
COPIED = ("dags", "plugins", "include")
INHERITED = {  # what Airflow's own image says of itself: without a word of ours, of this one too
    *("authors", "created", "description", "documentation", "licenses", "ref.name"),
    *("revision", "source", "title", "url", "vendor", "version"),
}


def stages():
    """The instructions of each stage of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (FOLDER / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    instructions = [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line]
    starts = [index for index, (name, _) in enumerate(instructions) if name == "FROM"]
    return [instructions[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]


BASE_STAGE, CODE, LAST = stages()


def of(stage, name):
    return [arguments for instruction, arguments in stage if instruction == name]


def ignore():
    """A predicate: whether a path of the project is kept from the build."""
    lines = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    patterns = [(line.lstrip("!"), line.startswith("!")) for line in lines if line and not line.startswith("#")]
    regexes = [(re.compile(translated(pattern)), exception) for pattern, exception in patterns]

    def is_ignored(path):
        matching = [exception for regex, exception in regexes if regex.fullmatch(path)]
        return bool(matching) and not matching[-1]  # the last that matches decides

    return is_ignored


def translated(pattern):
    """Docker's pattern as a regular expression, as far as the file goes: no folder stands for what is in it."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    return "".join(parts.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*\*|\*)", pattern))


def tracked():
    command = ["git", "ls-files", "-z"]
    return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout.split("\0")[:-1]


def test_it_is_made_of_the_airflow_that_the_project_is_tested_with():
    [airflow] = re.findall(r"^apache-airflow==([\d.]+)$", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
    assert of(BASE_STAGE, "FROM") == [f"apache/airflow:{airflow} AS airflow"]
    assert services([BASE])["scheduler"]["image"] == f"apache/airflow:{airflow}"
    assert (of(CODE, "FROM"), of(LAST, "FROM")) == (["airflow AS code"], ["airflow"])


def test_it_is_three_folders_on_top_of_airflow_and_nothing_is_installed():
    assert of(CODE, "COPY") == [f"{folder} {folder}/" for folder in COPIED]
    assert of(CODE, "WORKDIR") == ["/code"]
    assert of(LAST, "COPY") == ["--from=code /code/ /opt/airflow/"]
    assert {name for name, _ in LAST} == {"FROM", "COPY", "ENV", "ARG", "LABEL"}
    [prepared] = of(CODE, "RUN")
    assert set(re.findall(r"-exec (\w+)", prepared)) == {"chmod", "touch"}


def test_it_runs_as_the_user_of_airflows_image():
    assert len(BASE_STAGE) == 1
    assert of(LAST, "USER") == []
    assert of(CODE, "USER") == ["root"]  # where the files are prepared, so that they are root's


def test_its_files_can_be_read_by_all_and_changed_by_root_only():
    assert "find . -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +" in of(CODE, "RUN")[0]
    assert "--chown" not in str(LAST)


def test_python_finds_include_as_it_does_where_the_folder_is_mounted():
    assert of(LAST, "ENV") == [f"PYTHONPATH={services([BASE])['scheduler']['environment']['PYTHONPATH']}"]


def test_each_file_of_the_three_folders_is_sent_to_the_build_and_none_besides():
    is_ignored = ignore()
    files = tracked()
    expected = [path for path in files if path.split("/")[0] in COPIED]
    assert len(expected) > 300
    assert [path for path in files if not is_ignored(path)] == expected


@pytest.mark.parametrize(
    "path",
    [
        *("dags/.env", "include/.env", "include/sql/.env", ".env", "plugins/.env.local"),
        *("include/__pycache__/checks.cpython-312.pyc", "dags/user_logins.py~", "dags/.user_logins.py.swp"),
        *("dags/logins.csv", "include/sql/dump.sql.gz", "include/key.pem", "include/page/templates/page.css.map"),
        *("sandbox/sandbox/include/checks.py", "tests/dags/user_logins.py", "sql/include/sql/batches/rebuild.sql"),
    ],
)
def test_what_lies_about_is_not_sent_to_the_build(path):
    assert ignore()(path)


def test_it_says_what_it_is_and_nothing_of_airflows_image():
    [labels] = of(LAST, "LABEL")
    given = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]*)"', labels))
    assert given.keys() == INHERITED
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert {name: value for name, value in given.items() if value} == {
        "title": project["name"],
        "description": project["description"],
        "licenses": project["license"],
        "version": "$VERSION",
        "revision": "$REVISION",
    }
    assert of(LAST, "ARG") == ["VERSION=unknown", "REVISION=unknown"]


def test_make_gives_it_the_version_and_the_commit_that_it_is_made_of():
    make = ["make", "--no-print-directory", "--dry-run", "image"]
    printed = subprocess.run(make, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.replace("\\\n", "")
    assert set(re.findall(r"--tag (\S+)", printed)) == {f"user_logins:{VERSION}", "user_logins:latest"}
    arguments = dict(re.findall(r"--build-arg (\w+)=(\S+)", printed))
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    assert arguments["VERSION"] == VERSION
    assert arguments["REVISION"].removesuffix("-changed") == head.strip()
    assert arguments["SOURCE_DATE_EPOCH"].isdigit()


def test_the_same_files_are_the_same_layer_in_each_commit():
    """Where only SOURCE_DATE_EPOCH differs, BuildKit takes a step from its cache: no file may have that time."""
    assert "find . -exec touch --date @0 {} +" in of(CODE, "RUN")[0]
    assert of(CODE, "ARG") == []


def test_a_changed_file_of_it_is_not_called_the_commits(tmp_path):
    """In a clone of its own, so that the one in which the tests run may have changes."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{PROJECT}", clone], check=True)

    def revision():
        make = ["make", "--no-print-directory", "--dry-run", f"--makefile={PROJECT / 'Makefile'}", "image"]
        printed = subprocess.run(make, cwd=clone, capture_output=True, text=True, check=True).stdout
        return re.search(r"REVISION=(\S+)", printed)[1]

    commit = revision()
    assert re.fullmatch("[0-9a-f]{40}", commit)
    Path(clone, "tests", "note.txt").write_text("not in it\n")
    assert revision() == commit
    Path(clone, "dags", "another.py").write_text("")
    assert revision() == f"{commit}-changed"

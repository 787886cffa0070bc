"""docker-compose.yaml and its variants, checked without an engine."""

import ast
import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from airflow.configuration import conf
from airflow.models import Connection
from airflow.providers_manager import ProvidersManager
from cryptography.fernet import Fernet

from deploy.compose.smoke import Stack
from include.privacy.masking import read_keyring
from sandbox.queues import CONTAINERS, QUEUE
from tests.support.compose_files import (
    BASE,
    CELERY,
    EXERCISE,
    FILES,
    IMAGE,
    PROJECT,
    VARIANTS,
    docker_compose,
    services,
)

STACKS = {name: services(files) for name, files in VARIANTS.items()}
EACH = [
    pytest.param(name, service, id=f"{variant}-{name}")
    for variant, stack in STACKS.items()
    for name, service in stack.items()
]
AIRFLOW = ("api-server", "scheduler", "dag-processor", "worker", "migrate")
ONE_SHOT = ("keys", "migrate", "table", "seed", "privacy")
LOCAL_PASSWORDS = {"airflow", "pipeline", "postgres", "sandbox"}  # known to everybody; the ports are on 127.0.0.1
# They have no tag but latest, and are reached by nobody here.
EXERCISE_IMAGES = ("fetchdocker/data-takehome-localstack:latest", "fetchdocker/data-takehome-postgres:latest")
OUR_IMAGE = "user_logins"  # built here, so that it has no tag that anybody could pin
MOUNTED_CODE = {
    ("./dags", "/opt/airflow/dags", True),
    ("./plugins", "/opt/airflow/plugins", True),
    ("./include", "/opt/airflow/include", True),
}
MOUNTS = {("logs", "/opt/airflow/logs", False), ("keys", "/keys", True)}
NEEDED = {  # without one of these all services are healthy, and no task succeeds
    "AIRFLOW__API__SECRET_KEY_CMD": "cat /keys/api_secret_key",
    "AIRFLOW__API_AUTH__JWT_SECRET_CMD": "cat /keys/jwt_secret",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://api-server:8080/execution/",
    "AIRFLOW__CORE__FERNET_KEY_CMD": "cat /keys/fernet_key",
    "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "True",
    "PYTHONPATH": "/opt/airflow",
}
COMMANDS = {
    "api-server": "api-server",
    "scheduler": "scheduler",
    "dag-processor": "dag-processor",
    "worker": "celery worker",
}
# Neither privileged nor network_mode, for example.
SERVICE_KEYS = {
    "build",
    "command",
    "depends_on",
    "entrypoint",
    "env_file",
    "environment",
    "extra_hosts",
    "healthcheck",
    "image",
}
SERVICE_KEYS |= {"logging", "mem_limit", "ports", "profiles", "restart", "user", "volumes", "working_dir"}
MEMORY = {"m": 2**20, "g": 2**30}


def settings(stack):
    return {
        name: value for service in AIRFLOW if service in stack for name, value in stack[service]["environment"].items()
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_compose_renders_the_files_as_these_tests_read_them(variant):
    compose = docker_compose()
    if compose is None:
        pytest.skip("no Docker Compose 2.24.4 or later")
    rendered = json.loads(compose(VARIANTS[variant], "config", "--format=json"))["services"]
    assert rendered.keys() == STACKS[variant].keys()
    for name, ours in STACKS[variant].items():
        theirs = rendered[name]
        assert theirs["image"] == ours["image"]
        assert theirs.get("environment", {}) == ours["environment"]
        assert "healthcheck" in theirs or "healthcheck" not in ours
        assert {
            (one["type"], Path(one["source"]).name, one["target"], one.get("read_only", False))
            for one in theirs.get("volumes", [])
        } == {(one["type"], Path(one["source"]).name, one["target"], one["read_only"]) for one in ours["volumes"]}
        assert [
            f"{port['host_ip']}:{port['published']}:{port['target']}" for port in theirs.get("ports", [])
        ] == ours.get("ports", [])
        conditions = {dependency: wanted["condition"] for dependency, wanted in theirs.get("depends_on", {}).items()}
        assert conditions == {
            dependency: wanted["condition"] for dependency, wanted in ours.get("depends_on", {}).items()
        }


def test_the_file_is_short():
    assert len((PROJECT / BASE).read_text().splitlines()) < 200


@pytest.mark.parametrize(("name", "service"), EACH)
def test_what_is_mounted_exists_and_is_read_only(name, service):
    for one in service["volumes"]:
        if one["type"] == "bind":
            assert (PROJECT / one["source"]).exists()
            assert one["read_only"]


@pytest.mark.parametrize(("name", "service"), EACH)
def test_an_image_is_pinned(name, service):
    assert service["image"] in (*EXERCISE_IMAGES, OUR_IMAGE) or re.fullmatch(
        r"[a-z/]+:\d+\.\d+(\.\d+)?", service["image"]
    )


def test_the_images_are_of_the_versions_that_the_project_is_tested_with():
    images = {service["image"] for stack in STACKS.values() for service in stack.values()}
    pinned = {}
    for file in ("requirements.txt", "requirements-dev.txt"):
        pinned |= dict(re.findall(r"^([\w-]+)(?:\[\w+\])?==([\d.]+)", (PROJECT / file).read_text(), re.MULTILINE))
    assert {image for image in images if image.startswith("apache/")} == {f"apache/airflow:{pinned['apache-airflow']}"}
    assert {image for image in images if image.startswith("moto")} == {f"motoserver/moto:{pinned['moto']}"}


@pytest.mark.parametrize(("name", "service"), EACH)
def test_ports_are_open_on_this_machine_only(name, service):
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service.get("ports", []))


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_two_services_take_the_same_port(variant):
    ports = [port.rsplit(":", 1)[0] for service in STACKS[variant].values() for port in service.get("ports", [])]
    assert len(ports) == len(set(ports)) >= 3


@pytest.mark.parametrize("variant", VARIANTS)
def test_who_waits_for_another_service_can_know_when_it_is_there(variant):
    stack = STACKS[variant]
    for service in stack.values():
        for name, wanted in service.get("depends_on", {}).items():
            other = stack[name]
            ends = other.get("restart", "no") == "no"
            match wanted["condition"]:
                case "service_healthy":
                    assert other["healthcheck"]["test"]
                case "service_completed_successfully":
                    assert ends
                case _:
                    assert wanted["condition"] == "service_started"
                    assert not ends


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_one_shot_service_is_waited_for(variant):
    """`up --wait` fails when a service ends that nobody waits for."""
    stack = STACKS[variant]
    waited_for = {
        name
        for service in stack.values()
        for name, wanted in service.get("depends_on", {}).items()
        if wanted["condition"] == "service_completed_successfully"
    }
    ends = {
        name for name, service in stack.items() if service.get("restart", "no") == "no" and "profiles" not in service
    }
    assert waited_for == ends


@pytest.mark.parametrize(("name", "service"), [case for case in EACH if case.values[0] not in ONE_SHOT])
def test_a_service_that_goes_on_has_a_limit_and_comes_back(name, service):
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["restart"] == "unless-stopped"
    assert "healthcheck" in service or name == "takehome-localstack"  # what is in that image is not known


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_of_it_fits_into_a_laptop_of_8_gb(variant):
    limits = [service["mem_limit"] for service in STACKS[variant].values() if "mem_limit" in service]
    limits += ["1g"] if "worker" in STACKS[variant] else []  # its second worker
    assert sum(int(limit[:-1]) * MEMORY[limit[-1]] for limit in limits) < 8 * 2**30


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_setting_is_one_of_airflows(variant):
    options = conf.configuration_description | dict(ProvidersManager().provider_configs)
    known = {(section, option) for section, content in options.items() for option in content.get("options", {})}
    names = [name for name in settings(STACKS[variant]) if name.startswith("AIRFLOW__")]
    assert len(names) > 10
    for name in names:
        section, option = name.removeprefix("AIRFLOW__").lower().split("__")
        if option.endswith("_cmd"):
            option = option.removesuffix("_cmd")
            assert (section, option) in conf.sensitive_config_values, f"{name}: Airflow asks no command for it"
        assert (section, option) in known, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_services_of_airflow_share_one_environment(variant):
    stack = STACKS[variant]
    environments = [
        stack[name]["environment"]
        for name in AIRFLOW
        if name in stack and not (EXERCISE in VARIANTS[variant] and name == "scheduler")
    ]
    assert all(environment == environments[0] for environment in environments)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_services_of_airflow_have_what_tasks_need(variant):
    stack = STACKS[variant]
    for name in AIRFLOW:
        if name in stack:
            service = stack[name]
            mounts = {(one["source"], one["target"], one["read_only"]) for one in service["volumes"]}
            assert mounts == MOUNTS | (set() if IMAGE in VARIANTS[variant] else MOUNTED_CODE)
            assert NEEDED.items() <= service["environment"].items()
            assert (
                service.get("command") == COMMANDS[name]
                if name in COMMANDS
                else "connections import" in str(service["command"])
            )
            assert "entrypoint" not in service
    ports = {
        "api-server": conf.get("api", "port"),
        "scheduler": conf.get("scheduler", "scheduler_health_check_server_port"),
    }
    for name, port in ports.items():
        assert f"http://localhost:{port}/" in stack[name]["healthcheck"]["test"]
    assert stack["api-server"]["ports"][0].endswith(f":{ports['api-server']}")


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_database_keeps_its_data_in_a_volume_of_its_own(variant):
    stack = STACKS[variant]
    volumes = []
    for name in ("metadata", "warehouse"):
        major = int(stack[name]["image"].removeprefix("postgres:").split(".")[0])
        assert major < 18, "from 18 on the image keeps its data elsewhere"
        [volume] = [one for one in stack[name]["volumes"] if one["type"] == "volume"]
        assert volume["target"] == "/var/lib/postgresql/data"
        volumes.append(volume["source"])
    assert len(set(volumes)) == 2
    exercise = EXERCISE in VARIANTS[variant]
    assert (volumes[1] == "warehouse") != exercise  # another database by name, role and password
    if not exercise:  # whose role is the owner of all
        scripts = sorted(
            (one["target"], one["source"]) for one in stack["warehouse"]["volumes"] if one["type"] == "bind"
        )
        assert [source for _, source in scripts] == ["./deploy/compose/warehouse.sql", "./sandbox/rights.sql"]
        assert all(target.startswith("/docker-entrypoint-initdb.d/") for target, _ in scripts)


@pytest.mark.parametrize(("name", "service"), EACH)
def test_a_service_has_no_more_of_the_machine_than_it_needs(name, service):
    assert service.keys() <= SERVICE_KEYS
    assert all(one["source"].startswith("./") for one in service["volumes"] if one["type"] == "bind")
    assert service.get("user") == ("0:0" if name == "keys" else None)


@pytest.mark.parametrize(
    ("name", "service"), [case for case in EACH if "python -m" in str(case.values[1].get("entrypoint"))]
)
def test_a_script_of_ours_is_where_python_looks_for_it(name, service):
    """Not in /, where the folder /moto of moto's image would be taken for the package."""
    folder = service["working_dir"]
    assert folder != "/"
    mounted = {(one["source"], one["target"]) for one in service["volumes"]}
    module = PROJECT / service["entrypoint"].split()[2].replace(".", "/")
    path = module / "__main__.py" if module.is_dir() else module.with_suffix(".py")
    folder_of_it = path.relative_to(PROJECT).parts[0]
    if folder_of_it == "include" and service["image"] == OUR_IMAGE:
        assert (folder, mounted) == ("/opt/airflow", set())
    else:
        for part in {folder_of_it} if folder_of_it == "include" else {folder_of_it, "sandbox"}:
            assert (f"./{part}", f"{folder}/{part}") in mounted
    assert path.exists()


@pytest.mark.parametrize("variant", [variant for variant, files in VARIANTS.items() if IMAGE in files])
def test_all_of_airflow_has_the_code_from_one_image_which_is_built_once(variant):
    stack = STACKS[variant]
    without = services([file for file in VARIANTS[variant] if not file.startswith("deploy/image/")])
    assert {name for name, service in without.items() if service["image"].startswith("apache/airflow:")} == {
        name for name, service in stack.items() if service["image"] == OUR_IMAGE
    }
    [build] = [service["build"] for service in stack.values() if "build" in service]
    assert build == {"context": ".", "dockerfile": "deploy/image/Dockerfile"}
    bound = {
        name
        for name, service in stack.items()
        if service["image"] == OUR_IMAGE and any(one["type"] == "bind" for one in service["volumes"])
    }
    assert bound == {"keys"}  # of the sandbox, and no part of what runs in production


def test_a_line_of_the_example_is_a_variant():
    example = (PROJECT / ".env.example").read_text()
    lines = re.findall(r"^#COMPOSE_FILE=(.*)$", example, re.MULTILINE)
    assert [BASE, IMAGE] in [line.split(":") for line in lines]
    assert all(line.split(":") in VARIANTS.values() for line in lines)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_queue_is_reached_where_it_listens(variant):
    address = urlsplit(CONTAINERS)
    sqs = STACKS[variant][address.hostname]
    assert sqs["entrypoint"].endswith(f" 0.0.0.0 {address.port}")
    assert sqs["ports"][0].endswith(f":{address.port}")
    assert f":{address.port}/" in sqs["healthcheck"]["test"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_connection_is_one_and_leads_to_a_service(variant):
    stack = STACKS[variant]
    given = {
        name: value for name, value in stack["scheduler"]["environment"].items() if name.startswith("AIRFLOW_CONN_")
    }
    connections = {}
    for name, value in given.items():
        connections[name] = Connection.from_json(value) if value.startswith("{") else Connection(uri=value)
    assert {name: connection.conn_type for name, connection in connections.items()} == {
        "AIRFLOW_CONN_AWS_SQS": "aws",
        "AIRFLOW_CONN_WAREHOUSE": "postgres",
    }
    assert connections["AIRFLOW_CONN_WAREHOUSE"].host in stack
    assert connections["AIRFLOW_CONN_AWS_SQS"].extra_dejson["endpoint_url"] == CONTAINERS
    environment = stack["scheduler"]["environment"]
    assert environment["AIRFLOW_VAR_USER_LOGINS_QUEUE_URL"] == f"{CONTAINERS}/123456789012/{QUEUE}"
    for value in (CONTAINERS, *(value for value in environment.values() if re.match(r"[\w+]+://", value))):
        assert urlsplit(value).hostname in stack


@pytest.mark.parametrize(
    "file", [*FILES, *sorted(str(path.relative_to(PROJECT)) for path in (PROJECT / "deploy/compose").glob("*.env"))]
)
def test_no_secret_is_in_a_file(file):
    text = (PROJECT / file).read_text()
    passwords = re.findall(r'(?:PASSWORD|"password"|"login")["\']?\s*[:=]\s*["\']?(?:\$\{\w+:-)?([^\s"\'},$]+)', text)
    passwords += re.findall(r"://\w+:([^@/\s]+)@", text)
    assert set(passwords) <= LOCAL_PASSWORDS
    random = [
        word
        for word in re.findall(r"[\w+/-]{32,}", text)
        if re.search(r"[a-z]", word) and re.search(r"\d", word) and re.search("[A-Z]", word)
    ]
    assert random == []
    assert not re.search(r"(FERNET_KEY|SECRET_KEY|JWT_SECRET|PII_MASKING)=", text)


def test_the_passwords_of_both_sides_are_the_same():
    stack = STACKS["base"]
    environment = stack["scheduler"]["environment"]
    warehouse = Connection.from_json(environment["AIRFLOW_CONN_WAREHOUSE"])
    metadata = urlsplit(environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    assert warehouse.password == stack["warehouse"]["environment"]["PIPELINE_PASSWORD"]
    assert warehouse.schema == stack["warehouse"]["environment"]["POSTGRES_DB"]
    assert metadata.username == stack["metadata"]["environment"]["POSTGRES_USER"]
    assert metadata.password == stack["metadata"]["environment"]["POSTGRES_PASSWORD"]
    assert metadata.path == "/" + stack["metadata"]["environment"]["POSTGRES_USER"]  # the image's default


def test_a_file_of_ones_own_overrides_any_setting_and_no_shell_does(tmp_path):
    own = tmp_path / "own.env"
    lines = [f"{name}=other" for name in settings(STACKS["celery"])]
    own.write_text("\n".join([*lines, "AIRFLOW__CORE__HOSTNAME_CALLABLE=mine"]))
    changed = services(VARIANTS["celery"], USER_LOGINS_ENV_FILE=str(own))["worker"]["environment"]
    assert changed == dict.fromkeys(settings(STACKS["celery"]), "other") | {"AIRFLOW__CORE__HOSTNAME_CALLABLE": "mine"}
    if compose := docker_compose():
        theirs = compose(
            VARIANTS["celery"],
            "config",
            "--format=json",
            USER_LOGINS_ENV_FILE=str(own),
            AIRFLOW__CORE__EXECUTOR="Shell",
        )
        assert json.loads(theirs)["services"]["worker"]["environment"] == changed


def test_what_can_be_set_is_in_the_example():
    used = {name for file in FILES for name in re.findall(r"\$\{(\w+):-", (PROJECT / file).read_text())} - {
        "USER_LOGINS_ENV_FILE"
    }
    example = (PROJECT / ".env.example").read_text()
    assert used == set(re.findall(r"^#?(\w+(?:_PORT|_MEMORY|_PASSWORD))=", example, re.MULTILINE))


@pytest.mark.parametrize(
    "path", [*PROJECT.glob("*.y*ml"), *PROJECT.glob("*.md"), *PROJECT.glob("*/*.md"), *PROJECT.glob("*/*/*.yaml")]
)
def test_a_command_that_is_documented_names_files_and_services_that_exist(path):
    for command in re.findall(r"^\W*(docker compose .*)", path.read_text(), re.MULTILINE):
        files = re.findall(r"-f (\S+)", command) or [BASE]
        stack = services(files)
        assert set(re.findall(r"(?:run --rm|exec|--scale) ([a-z]+)", command)) <= stack.keys()
        assert re.search(r"compose (?:-f \S+ )*(up --wait|run --rm|exec|down)", command)


def made(*arguments):
    """The commands that make would run."""
    make = ["make", "--no-print-directory", "--dry-run", *arguments]
    return subprocess.run(make, cwd=PROJECT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("variant", [[], ["CELERY=2"], ["EXERCISE=1"], ["IMAGE=1"]])
def test_the_commands_of_make_are_the_documented_ones(variant):
    documented = "".join((PROJECT / file).read_text() for file in ("README.md", CELERY, EXERCISE, IMAGE))
    [printed] = re.findall("^docker compose .*", made("up", *variant), re.MULTILINE)
    command = " ".join(printed.replace("--remove-orphans", "").replace("--file", "-f").split())
    assert re.search(rf"^\W*{command}( |$)", documented, re.MULTILINE), command


@pytest.mark.parametrize("variant", ["base", "celery", "image", "celery-image"])
def test_the_smoke_test_starts_what_make_starts(variant):
    celery, image = "celery" in variant, "image" in variant
    files = Stack(PROJECT / "none.env", celery=celery, image=image).command
    assert [option.removeprefix("--file=") for option in files if option.startswith("--file=")] == VARIANTS[variant]
    variables = ["CELERY=2"] * celery + ["IMAGE=1"] * image
    [up] = re.findall("^docker compose .* up .*", made("up", *variables), re.MULTILINE)
    assert (re.findall(r"--file (\S+)", up) or [BASE]) == VARIANTS[variant]
    built, smoke = re.fullmatch("(docker build .*?)?(python3 .*)", made("smoke", *variables), re.DOTALL).groups()
    assert (bool(built), "--celery" in smoke, "--image" in smoke) == (image, celery, image)


@pytest.mark.parametrize(
    ("module", "installed"),
    [
        ("deploy/compose/keys", set()),
        ("deploy/compose/relay", {"boto3", "botocore"}),
        ("deploy/compose/seed", {"boto3", "botocore"}),
        ("deploy/compose/smoke", set()),
        ("sandbox/sqs_server", {"boto3", "botocore", "moto"}),
    ],
)
def test_a_script_imports_only_what_its_image_has(module, installed):
    """No image has the packages of requirements-dev.txt, and a laptop's Python has none at all."""
    assert imported(PROJECT / f"{module}.py") - sys.stdlib_module_names == installed


def imported(path):
    """What a file imports from elsewhere, also by way of files of the sandbox."""
    tree = ast.parse(path.read_text())
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    ]
    found = set()
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            ours = name.split(".")[0] == "sandbox"
            found |= imported(PROJECT / f"{name.replace('.', '/')}.py") if ours else {name.split(".")[0]}
    return found


def test_keys_are_made_once_and_airflow_takes_them(tmp_path):
    def make():
        subprocess.run([sys.executable, "-m", "deploy.compose.keys", str(tmp_path)], cwd=PROJECT, check=True)
        return {path.name: path.read_text() for path in tmp_path.iterdir()}

    keys = make()
    assert make() == keys
    commands = [value for name, value in settings(STACKS["base"]).items() if name.endswith("_CMD")]
    assert {command.removeprefix("cat /keys/") for command in commands} | {"connections.json"} == keys.keys()
    assert all(len(value) >= 43 for value in keys.values())
    Fernet(keys["fernet_key"])
    masking = json.loads(keys["connections.json"])["pii_masking"]
    assert read_keyring(masking["password"]).kid
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750

"""deploy/kubernetes and docs/kubernetes.md, checked without the chart; tests/system/test_helm.py renders it."""

import importlib
import os
import re
import subprocess

import pytest
from airflow.configuration import conf
from airflow.models import Connection
from airflow.providers_manager import ProvidersManager
from cryptography.fernet import Fernet

from include.params import DRAIN_FORM
from include.privacy.masking import read_keyring
from include.release import VERSION
from tests.support.documents import documented_block
from tests.support.helm_values import CHART, FOLDER, KEYS, PROJECT, VARIANTS, paths, read, values

MANUAL = (PROJECT / "docs/kubernetes.md").read_text()
FILES = sorted(path.name for path in FOLDER.iterdir())
MEMORY = {"Mi": 1, "Gi": 1024}
SECTIONS = {  # who runs what in docs/docker.md
    "apiServer": "api-server",
    "scheduler": "scheduler",
    "dagProcessor": "dag-processor",
}
TASKS_NEED = {
    "AIRFLOW_CONN_AWS_SQS",
    "AIRFLOW_CONN_PII_MASKING",
    "AIRFLOW_CONN_WAREHOUSE",
    "AIRFLOW_VAR_USER_LOGINS_QUEUE_URL",
}


def section(title):
    return re.search(rf"^## {title}$(.*?)(?=^## |\Z)", MANUAL, re.MULTILINE | re.DOTALL).group(1)


def mebibytes(text):
    """
    >>> mebibytes("1Gi")
    1024
    """
    return int(text[:-2]) * MEMORY[text[-2:]]


def worker(variant):
    return values(variant)["workers"]["celery" if variant == "celery-keda.yaml" else "kubernetes"]


def references(variant):
    """The Secrets that a variant names, each with the key in it that the chart, or a container, looks for."""
    whole = values(variant)
    named = {
        (whole["fernetKeySecretName"], "fernet-key"),
        (whole["jwtSecretName"], "jwt-secret"),
        (whole["apiSecretKeySecretName"], "api-secret-key"),
        (whole["data"]["metadataSecretName"], "connection"),
        (whole["data"]["brokerUrlSecretName"], "connection"),
    }
    if password := whole["redis"].get("passwordSecretName"):
        named.add((password, "password"))
    for one in (*worker(variant)["env"], *whole["apiServer"]["env"]):
        reference = one["valueFrom"]["secretKeyRef"]
        named.add((reference["name"], reference["key"]))
    return named


@pytest.mark.parametrize("file", FILES)
def test_each_key_is_one_of_the_charts(file):
    assert set(paths(read(file))) - KEYS == set()


def test_each_key_in_the_list_is_used():
    assert {path for file in FILES for path in paths(read(file))} == KEYS


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_setting_is_one_of_airflows(variant):
    options = conf.configuration_description | dict(ProvidersManager().provider_configs)
    for name, content in values(variant)["config"].items():
        for option in content:
            assert option in options[name]["options"], f"[{name}] {option}"


def test_the_image_is_this_version_of_the_project_on_the_locked_airflow():
    locked = re.search(r"^apache-airflow==(.+)$", (PROJECT / "requirements.txt").read_text(), re.MULTILINE).group(1)
    assert read("values.yaml")["defaultAirflowTag"] == VERSION
    assert read("values.yaml")["airflowVersion"] == locked


@pytest.mark.parametrize("file", FILES)
def test_the_image_is_not_named_where_the_pods_of_tasks_do_not_look(file):
    assert "images" not in read(file)
    assert "defaultAirflowDigest" not in read(file)


@pytest.mark.parametrize("variant", VARIANTS)
def test_tasks_have_what_they_need_and_nobody_else_has_the_masking_key(variant):
    assert {one["name"] for one in worker(variant)["env"]} == TASKS_NEED
    whole = values(variant)
    assert [one["name"] for one in whole["apiServer"]["env"]] == ["AIRFLOW_CONN_WAREHOUSE"]
    assert "secret" not in whole  # every pod would have it
    assert not any("env" in whole[component] for component in ("scheduler", "dagProcessor", "migrateDatabaseJob"))


@pytest.mark.parametrize("file", FILES)
def test_no_secret_is_in_a_file(file):
    text = (FOLDER / file).read_text()
    assert not re.search(r"(?i)(password|fernetKey|jwtSecret|apiSecretKey|brokerUrl|secret)\s*:\s*\S", text)
    assert not re.search(r"://[^\s/]*:[^\s/]*@", text)
    words = re.findall(r"[\w+/-]{32,}", text)
    assert not [word for word in words if re.search(r"\d", word) and re.search("[A-Z]", word)]
    assert not re.search(r"^\s*value:", text, re.MULTILINE)  # each variable of a container comes from a Secret


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the manual's commands put into Secrets: Secret, key → value. What is to be written is its own example."""
    folder = tmp_path_factory.mktemp("operator")
    kubectl = folder / "bin/kubectl"
    kubectl.parent.mkdir()
    # kubectl create secret generic NAME --namespace airflow --from-file FOLDER
    kubectl.write_text('#!/bin/sh\n[ "$2" != secret ] || { mkdir -p "made/$4" && cp -p "$8"/* "made/$4"; }\n')
    kubectl.chmod(0o755)
    text = section("Secrets")
    first = documented_block("docs/kubernetes.md", "( #")
    second = documented_block("docs/kubernetes.md", "for file in secrets")
    for file, example in re.findall(r"^\| `secrets/(.+?)` \| .*?(?:`(.+?)`.*)?\|$", text, re.MULTILINE):
        typed = folder / "typed" / file
        typed.parent.mkdir(parents=True, exist_ok=True)
        typed.write_text((example or "https://sqs.eu-west-1.amazonaws.com/123456789012/logins") + "\n")
    subprocess.run(
        ["sh", "-euc", f"{first}\ncp -R typed/. secrets\n{second}"],
        cwd=folder,
        env={"PATH": f"{kubectl.parent}:{os.environ['PATH']}"},
        check=True,
    )
    assert (folder / "secrets").stat().st_mode & 0o077 == 0  # nobody else gets at what is in it
    return {(path.parent.name, path.name): path.read_text() for path in (folder / "made").rglob("*") if path.is_file()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_commands_in_the_manual_make_every_secret_that_the_values_name(variant, made):
    assert references(variant) - made.keys() == set()


def test_no_secret_is_made_that_no_variant_names(made):
    assert made.keys() == {one for variant in VARIANTS for one in references(variant)}


def test_each_secret_of_the_manual_is_what_its_reader_understands(made):
    assert all(value == value.strip() != "" for value in made.values())
    Fernet(made["user-logins-airflow", "fernet-key"])
    assert made["user-logins-airflow", "jwt-secret"] != made["user-logins-airflow", "api-secret-key"]
    assert made["user-logins-airflow", "connection"].startswith("postgresql://")  # all that KEDA understands
    assert f":{made['user-logins-broker', 'password']}@" in made["user-logins-broker", "connection"]
    connections = {
        name: Connection.from_json(made[secret, name])
        for secret, name in made
        if name in ("aws-sqs", "pii-masking", "warehouse")
    }
    assert {name: one.conn_type for name, one in connections.items()} == {
        "aws-sqs": "aws",
        "pii-masking": "generic",
        "warehouse": "postgres",
    }
    assert read_keyring(connections["pii-masking"].password).kids


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_drain_has_time_to_finish_before_its_pod_is_killed(variant):
    assert worker(variant)["terminationGracePeriodSeconds"] >= DRAIN_FORM["max_seconds"].value + 60


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_slot_of_a_worker_has_the_memory_and_the_core_that_the_manual_says(variant):
    whole, resources = values(variant), worker(variant)["resources"]
    slots = whole["config"]["celery"]["worker_concurrency"] if variant == "celery-keda.yaml" else 1
    memory, cores, limit = re.search(
        r"^\| a slot of a worker \| (\d+) MiB, (\d) core \| (\d) GiB", MANUAL, re.MULTILINE
    ).groups()
    assert mebibytes(resources["requests"]["memory"]) == int(memory) * slots
    assert int(resources["requests"]["cpu"]) == int(cores) * slots
    assert mebibytes(resources["limits"]["memory"]) == int(limit) * 1024 * slots


def test_each_component_has_more_memory_than_it_was_measured_with():
    docker = (PROJECT / "docs/docker.md").read_text()
    for component, service in SECTIONS.items():
        row = re.search(rf"^\| `{service}` \|.*\| (\d+) MiB \| (\d) GiB \|$", docker, re.MULTILINE)
        idle, most = int(row.group(1)), int(row.group(2)) * 1024
        resources = read("values.yaml")[component]["resources"]
        request, limit = (mebibytes(resources[kind]["memory"]) for kind in ("requests", "limits"))
        assert idle < request < limit <= most
        name = service.replace("-", " ")
        told = re.search(rf"(?im)^\| {name} \| (\d+) MiB \| (\d) GiB \| (\d+) MiB idle", MANUAL)
        assert [int(number) for number in told.groups()] == [request, limit // 1024, idle]


def test_the_scheduler_counts_on_the_slots_of_all_workers_and_of_one_more():
    whole = values("celery-keda.yaml")
    keda, config = whole["workers"]["celery"]["keda"], whole["config"]
    slots = config["celery"]["worker_concurrency"]
    assert config["core"]["parallelism"] == (keda["maxReplicaCount"] + 1) * slots
    assert keda["maxReplicaCount"] * slots >= DRAIN_FORM["max_workers"].value


def test_workers_stay_from_one_run_to_the_next():
    keda = values("celery-keda.yaml")["workers"]["celery"]["keda"]
    down = keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert keda["minReplicaCount"] >= 1
    assert down["stabilizationWindowSeconds"] > 300


def test_the_address_of_a_worker_is_one_that_airflow_knows_how_to_find():
    module, name = values("celery-keda.yaml")["config"]["core"]["hostname_callable"].rsplit(".", 1)
    assert callable(getattr(importlib.import_module(module), name))


def test_the_manual_installs_the_version_of_the_chart_that_the_keys_are_of():
    assert set(re.findall(r"(?:version |--version |helm-chart/)(1\.\d+\.\d+)", MANUAL)) == {CHART}
    assert CHART in (FOLDER / "values.yaml").read_text()


def test_the_manual_installs_files_that_are_there():
    named = set(re.findall(r"deploy/kubernetes/([\w.-]+\.yaml)", section("Install")))
    assert named == set(FILES) - {"kubernetes-executor.yaml"}
    assert "`kubernetes-executor.yaml`" in section("Install")


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_task_has_a_token_of_kubernetes_and_nothing_runs_as_root(variant):
    whole = values(variant)
    assert worker(variant)["serviceAccount"]["automountServiceAccountToken"] is False
    for contexts in (whole["securityContexts"], whole["redis"].get("securityContexts", whole["securityContexts"])):
        pod = contexts["pod"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_pods_do_what_must_not_stop_and_what_is_not_used_is_off(variant):
    whole = values(variant)
    for component in ("apiServer", "scheduler"):
        assert whole[component]["replicas"] == 2
        assert whole[component]["podDisruptionBudget"] == {"enabled": True, "config": {"maxUnavailable": 1}}
    unused = ("createUserJob", "postgresql", "statsd", "triggerer")
    assert not any(whole[component]["enabled"] for component in unused)

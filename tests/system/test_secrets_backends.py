"""Connections and the variable in AWS, and nowhere else: put there and found as docs/deploy.md says."""

import json
import os
import secrets
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatch

import pytest
from moto.core.exceptions import JsonRESTError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.secretsmanager.models import secretsmanager_backends
from moto.secretsmanager.responses import SecretsManagerResponse
from moto.server import ThreadedMotoServer
from moto.ssm.models import ssm_backends
from moto.ssm.responses import SimpleSystemManagerResponse

from sandbox.events import sample_events, send
from tests.support.deploying import client, put, run
from tests.support.documents import PROJECT, documented_block

MANUAL = PROJECT / "docs" / "deploy.md"
ACCOUNT = "eu-west-1:123456789012"
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/login-queue"
WRITING = documented_block("docs/deploy.md", "( #")
WAREHOUSE = documented_block("docs/deploy.md", '{"conn_type": "postgres"', "json")


@dataclass(frozen=True)
class Store:
    """How secrets are put there, the settings with which Airflow looks them up, and the right that it needs for that.

    `answer` is what moto answers a lookup of `parameter` with.
    """

    putting: str
    settings: str
    right: str
    answer: tuple[type, str]
    parameter: str
    resource: str


STORES = {
    "Secrets Manager": Store(
        documented_block("docs/deploy.md", "for name in aws_sqs warehouse pii_masking; do\n  aws secretsmanager"),
        documented_block("docs/deploy.md", "AIRFLOW__SECRETS__BACKEND=airflow.providers.amazon.aws.secrets.secrets_m"),
        documented_block("docs/deploy.md", '{"Effect": "Allow", "Action": "secretsmanager', "json"),
        (SecretsManagerResponse, "get_secret_value"),
        "SecretId",
        "secretsmanager:{}:secret:",
    ),
    "Parameter Store": Store(
        documented_block("docs/deploy.md", "for name in aws_sqs warehouse pii_masking; do\n  aws ssm"),
        documented_block("docs/deploy.md", "AIRFLOW__SECRETS__BACKEND=airflow.providers.amazon.aws.secrets.systems_m"),
        documented_block("docs/deploy.md", '{"Effect": "Allow", "Action": "ssm', "json"),
        (SimpleSystemManagerResponse, "get_parameter"),
        "Name",
        "ssm:{}:parameter",
    ),
}


@dataclass
class Asked:
    """The names of the secrets that a store was asked for, each time, and of those that it refuses."""

    names: list = field(default_factory=list)
    refused: list = field(default_factory=list)


@pytest.fixture
def aws():
    """The endpoint of a server with empty stores, in this process."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()
    for backends in (secretsmanager_backends, ssm_backends):
        backends[DEFAULT_ACCOUNT_ID].reset()


@pytest.fixture(params=STORES)
def store(request):
    return STORES[request.param]


@pytest.fixture
def asked(store, monkeypatch):
    responses, operation = store.answer
    answer, asked = getattr(responses, operation), Asked()

    def note(response):
        name = response._get_param(store.parameter)  # noqa: SLF001
        asked.names.append(name)
        if name in asked.refused:
            raise JsonRESTError("AccessDeniedException", "not authorized")
        return answer(response)

    monkeypatch.setattr(responses, operation, note)
    return asked


@pytest.fixture
def deployed(store, asked, aws, empty_warehouse, environment, queue_url, tmp_path):
    """An Airflow whose connections and variable are in AWS only."""
    writing = WRITING.replace(QUEUE, queue_url).replace("eu-west-1", "us-east-1")  # where the queue of the tests is
    run(writing, tmp_path)
    connection = json.loads(WAREHOUSE) | {"host": empty_warehouse.postgres, "password": secrets.token_urlsafe(32)}
    (tmp_path / "secrets" / "warehouse").write_text(json.dumps(connection) + "\n")
    put(store.putting, tmp_path, aws)
    inherited = {
        name: value
        for name, value in (os.environ | environment).items()
        if not name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AWS_"))
    }
    of_aws = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws,
        "AWS_ENDPOINT_URL_SSM": aws,
        "AWS_ENDPOINT_URL_SQS": empty_warehouse.sqs,
    }
    return inherited | dict(word.split("=", 1) for word in shlex.split(store.settings)) | of_aws


def password(folder, name):
    return json.loads((folder / "secrets" / name).read_text())["password"]


def output_of(environment, *command):
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


def test_a_run_finds_its_connections_and_its_queue_in_aws(
    store, deployed, asked, empty_warehouse, sqs, queue_url, tmp_path
):
    send(sqs, queue_url, sample_events(100, 1))
    code, output = output_of(deployed, "airflow", "dags", "test", "user_logins")
    assert code == 0, output[-5000:]
    with empty_warehouse.connect() as warehouse:
        assert warehouse.execute("select count(*) from public.user_logins").fetchone() == (99,)
    assert [name for name in ("warehouse", "pii_masking") if password(tmp_path, name) in output] == []
    assert f"A run with one drain task asks {len(asked.names)} times" in MANUAL.read_text()
    statement = json.loads(store.right)
    service = store.resource.partition(":")[0]
    assert statement["Action"].startswith(f"{service}:Get")
    for name in asked.names:
        assert fnmatch("arn:aws:" + store.resource.format(ACCOUNT) + name, statement["Resource"])


@pytest.mark.parametrize("store", ["Parameter Store"], indirect=True)
def test_the_doctor_names_what_is_missing_and_what_is_refused(deployed, asked, aws):
    client("ssm", aws).delete_parameter(Name="/airflow/connections/pii_masking")
    asked.refused.append("/airflow/connections/warehouse")
    code, output = output_of(deployed, sys.executable, "-m", "include.doctor")
    faults = [line for line in output.splitlines() if line.startswith("✗")]
    assert (code, len(faults)) == (1, 2), output
    for name, fault in zip(("pii_masking", "warehouse"), faults, strict=True):
        assert f"connection {name} is not defined, or SystemsManagerParameterStoreBackend cannot read it" in fault

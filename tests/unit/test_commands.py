"""Each command in README and docs is taken from there by a test, to be run, or stands here with the reason.

That a test which takes one also runs it, its reader sees.
"""

import ast
import re

import pytest

from tests.support.documents import DOCUMENTS, PROJECT, commands, documented, documented_block, lines, name_of

DOCKER = "needs Docker: `make smoke` and what deploy/compose is tested with run these services"
AWS = "needs AWS: a test holds each call against AWS's own description of it"
CLUSTER = "needs a cluster; the chart is rendered with the same files where it is at hand"
NOT_RUN = {
    "make env": "run as the README has it, with -s, by eval",
    "make install": "what .ci/run begins with",
    "make test": "it is what runs this",
    "make check": "what .ci/run and GitHub run beside the tests",
    "make smoke": DOCKER,
    "make image": DOCKER,
    "make up": DOCKER,
    "make logs": DOCKER,
    "make down": DOCKER,
    "docker": DOCKER,
    **dict.fromkeys(("aws cloudformation", "aws eks", "aws iam", "aws kms", "aws mwaa", "aws s3", "aws sqs"), AWS),
    "version=$(aws s3api put-object": AWS,
    "terraform destroy": AWS,
    "helm": CLUSTER,
    "kubectl rollout": CLUSTER,
    "kubectl exec": CLUSTER,
    "kubectl get": CLUSTER,
    "kubectl wait": CLUSTER,
    "kubectl logs": CLUSTER,
    "kubectl delete": CLUSTER,
    ".venv/bin/python -m pip install helm-python-sdk==0.2.2 kubernetes-validate==1.37.0": "75 MB for one test",
    "AIRFLOW_CHART=airflow .venv/bin/python -m pytest tests/system/test_helm.py": "the chart is no package",
    "cp deploy/kubernetes/site.example.yaml site.yaml": CLUSTER,
    "astro dev bash": "needs Astronomer's command line; the document says that it was only read about",
    "make soak": "an hour; the tests draw a sample of each of its parts",
    "make bench": "half an hour on a machine with nothing else to do; each part of it is tested",
    "make screenshots": "half a minute of a made-up day, whose parts are tested",
    "make lock": "asks the package index for what is new",
    "make lock-check": "asks the package index; a job of its own on GitHub",
    "pip install --require-hashes -r requirements.lock -c requirements.lock": "what `make install` does",
    "airflow db migrate": "Airflow's own; each sandbox of the tests is set up with it",
    "airflow db clean": "named as what deletes runs, not as what to do",
    "chmod -R go+rX .": "changes the clone; what asks for it is told by `docker compose`",
    "chcon -Rt container_file_t .": "needs SELinux; the document says that it was not tried",
    "make the role of connection warehouse its owner": "not of make: the sentence of an error",
}


def begins(text, beginning):
    return text == beginning or text.startswith(f"{beginning} ")


def taken():
    """What tests take from documents, by their source: calls of `documented` and `documented_block`, with literals."""
    for path in (PROJECT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(ast.Name("documented"), [ast.Constant(document), ast.Constant(beginning)]):
                    yield documented(document, beginning)
                case ast.Call(ast.Name("documented_block"), [ast.Constant(document), ast.Constant(beginning)]):
                    yield from lines(documented_block(document, beginning))


RUN = set(taken())
DOCUMENTED = {each.text for path in DOCUMENTS for each in commands(name_of(path)) if not each.is_sql}


def is_run(text):
    """Whether a test takes it, or what it is the beginning of: sentences name commands that stand whole elsewhere."""
    return any(begins(each, text) for each in RUN)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_each_command_is_run_or_cannot_be(path):
    named = [each.text for each in commands(name_of(path)) if not each.is_sql]
    neither = [text for text in named if not is_run(text) and not any(begins(text, each) for each in NOT_RUN)]
    assert neither == [], (
        "let a test take them, by tests/support/documents.py, or put them into NOT_RUN with the reason"
    )


def test_what_cannot_be_run_is_documented_and_not_run():
    """So that the list is no longer than it must be."""
    assert [each for each in NOT_RUN if not any(begins(text, each) for text in DOCUMENTED)] == []
    assert [each for each in NOT_RUN if any(begins(text, each) for text in RUN)] == []


def test_each_target_of_make_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = {text.split()[1] for text in DOCUMENTED if begins(text, "make") and text not in NOT_RUN}
    assert named - targets == set()

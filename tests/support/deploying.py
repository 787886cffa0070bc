"""The commands of docs/deploy.md, run as they stand there, also those that call AWS."""

import os
import subprocess

import boto3

AT_A_FILE = "file://"
AWS = '#!/bin/sh\nprintf "%s\\t" "$@" >> calls\necho >> calls\n'


def run(script, folder):
    """Run shell commands in a folder; raise where one fails."""
    subprocess.run(["sh", "-euc", script], cwd=folder, check=True)


def client(service, endpoint):
    return boto3.client(
        service, "eu-west-1", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test"
    )


def put(script, folder, endpoint):
    """Run commands that call `aws SERVICE OPERATION --OPTION VALUE …`, which a stand-in notes; then make these calls.

    boto3 refuses what a service does not have.
    """
    (folder / "aws").write_text(AWS)
    (folder / "aws").chmod(0o755)
    run(f'PATH="$PWD{os.pathsep}$PATH"\n{script}', folder)
    for line in (folder / "calls").read_text().splitlines():
        service, operation, *rest = line.rstrip("\t").split("\t")
        call = getattr(client(service, endpoint), operation.replace("-", "_"))
        call(**{_parameter(each): _value(text, folder) for each, text in zip(rest[::2], rest[1::2], strict=True)})


def _parameter(option):
    """`--secret-string` → `SecretString`."""
    return "".join(word.capitalize() for word in option.removeprefix("--").split("-"))


def _value(text, folder):
    """The text itself, or all that is in the file that it names, with a newline at its end."""
    return (folder / text.removeprefix(AT_A_FILE)).read_text() if text.startswith(AT_A_FILE) else text

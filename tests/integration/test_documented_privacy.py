"""The commands of docs/privacy.md, one after the other, as the people type them for whom they are."""

import json
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from include.batches import disclosure
from include.batches.staging import stage
from include.events.login import parse
from include.events.message import Message, Origin, Run
from include.privacy.masking import read_keyring
from include.privacy.requests import Request
from include.warehouse.setup import prepare_warehouse
from sandbox.servers import PROJECT
from sandbox.terminal import AtTerminal
from tests.support.documents import documented
from tests.support.merging import merge
from tests.support.privacy import PEOPLE, as_dba, login

NOW = datetime.now(UTC)
ORIGIN = Origin(Run("user_logins", "a run"), 0, 1, NOW)
ANN = {"user_id": "ann-1234", "ip": "192.0.2.7", "device_id": "device of ann"}
PASSPHRASE = "passphrase of the key: "
SHOW = "Show them? The trail will have it. [yes/no]"


@pytest.fixture
def typed(local, tmp_path):
    """What a person sees who types a command in a folder of hers, and answers its questions."""
    programs = os.pathsep.join((str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]))

    def type_(person, command, answers=(), code=0):
        environment = os.environ | local.libpq_environment(person) | {"PATH": programs, "PYTHONPATH": str(PROJECT)}
        shell = AtTerminal(["sh", "-euc", command], environment, tmp_path)
        for question, answer in answers:
            shell.answer(question, answer)
        ended, shown = shell.end()
        assert ended == code, shown
        assert "Traceback" not in shown
        return shown

    return type_


def land_and_ask(warehouse, keyring):
    """Two messages of hers in user_logins, what they had sealed; a request for that, which ben has approved."""
    for message in [Message(uuid4(), NOW, 1, json.dumps(ANN)) for _ in range(2)]:
        stage(warehouse, [(message, parse(message))], [], keyring=keyring, origin=ORIGIN)
    merge(warehouse)
    masks = [keyring.mask(ANN[field], field=field) for field in ("ip", "device_id")]
    asked = Request("a run", "rita", "C-17", "a chargeback", masks)
    disclosure.ask(warehouse, asked)
    assert disclosure.decide(warehouse, asked, approver="ben", approve=True) == "approved"


def test_from_the_installation_to_a_key_that_is_retired(local, typed, keyring, tmp_path):
    as_dba(local.postgres)
    script = typed("dba", documented("docs/privacy.md", "python -m include.privacy install --login pipeline --print"))
    assert "create table privacy.audit" in script
    assert "0001_trail" in typed(
        "dba", documented("docs/privacy.md", "python -m include.privacy install --login pipeline")
    )
    with login(local.postgres, "dba") as dba:
        for person, role in PEOPLE.items():
            dba.execute(f"create role {person} login")
            dba.execute(f"grant {role} to {person}")

    made = typed("olga", documented("docs/privacy.md", "python -m include.privacy keygen"))
    passphrase = (PASSPHRASE, re.search(r"^passphrase: (.*)$", made, re.MULTILINE)[1])
    registered = typed("olga", documented("docs/privacy.md", "python -m include.privacy register"), [passphrase])
    key_id = re.match(r".*key ([0-9a-f]{8}): registered", registered, re.DOTALL)[1]
    with login(local.postgres, "pipeline") as warehouse:
        prepare_warehouse(warehouse)
        land_and_ask(warehouse, keyring)
    assert "granted" in typed("olga", documented("docs/privacy.md", "python -m include.privacy requests"))

    reveal = documented("docs/privacy.md", "python -m include.privacy reveal 1")
    assert ANN["ip"] in typed("olga", reveal, [passphrase, (SHOW, "yes")])
    stand_in_for_age(tmp_path, passphrase[1])
    assert ANN["ip"] in typed("olga", documented("docs/privacy.md", "age -d key.age"), [(SHOW, "yes")])

    for command in (
        documented("docs/privacy.md", "python -m include.privacy access --case"),
        documented("docs/runbook.md", "python -m include.privacy erase --case"),
    ):
        assert re.search("noted|queued", typed("olga", f"echo {ANN['user_id']} | {command}"))

    [anchor] = re.findall(r"^anchor: (.*)$", typed("uwe", "python -m include.privacy verify"), re.MULTILINE)
    verify = documented("docs/privacy.md", "python -m include.privacy verify --anchor").replace("1042:9f2c…", anchor)
    assert "whole" in typed("uwe", verify)

    assert "revoked" in typed("uwe", documented("docs/privacy.md", "python -m include.privacy revoke 1"))
    assert "it was revoked" in typed("olga", reveal, code=1)
    typed("dba", documented("docs/privacy.md", "python -m include.privacy settings"))
    retire = documented("docs/privacy.md", "python -m include.privacy retire KEY_ID").replace("KEY_ID", key_id)
    assert "retired" in typed("dba", retire)


def stand_in_for_age(folder, passphrase):
    """A program `age` that decrypts the officer's key file, as the real one would decrypt another."""
    program = folder / "age"
    program.write_text(f"#!/bin/sh\nexec openssl pkcs8 -in officer.pem -passin pass:{passphrase}\n")
    program.chmod(0o700)


def test_a_key_is_made_as_the_manuals_say(typed):
    for command in (
        documented("docs/configuration.md", "python3 -c"),
        documented("docs/monitoring.md", "python3 -c"),
    ):
        read_keyring(typed("olga", command).strip())

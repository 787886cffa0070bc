"""An officer's commands: keys, and originals that are shown at a terminal: what was granted, never without a trace."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import sleep
from uuid import uuid4

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from include import erasure, maintenance
from include.batches import disclosure
from include.batches import erasure as batches_erasure
from include.batches.reconciliation import FailedCheck
from include.batches.staging import stage
from include.events.login import parse
from include.events.message import Message, Origin, Run
from include.failures import SetupError
from include.privacy import requests
from include.privacy.erasures import ask_erasure, waiting
from include.privacy.keys import make_key_file, make_passphrase, public_bytes, read_private_key
from include.privacy.originals import register_recipient
from include.privacy.requests import Item, Request, ask_access, disclose, disclosed
from include.privacy.reveal import reveal as open_request
from include.privacy.trail import verify
from include.privacy.vault import key_id_of
from sandbox.servers import PROJECT
from sandbox.terminal import AtTerminal
from tests.support.merging import merge
from tests.support.privacy import login, prepared_warehouse
from tests.support.worker import erase as erase_all
from tests.support.worker import rotate

NOW = datetime.now(UTC)
ORIGIN = Origin(Run("user_logins", "a run"), 0, 1, NOW)
PASSPHRASE = make_passphrase()
ANN = {"user_id": "ann-1234", "ip": "192.0.2.7", "device_id": "\x1b[2Jdevice of ann", "locale": "DE"}
BOB = {"user_id": "bob-1234", "ip": "198.51.100.9", "device_id": "device of bob"}


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("officer") / "officer.pem"
    make_key_file(path, PASSPHRASE)
    return path


@pytest.fixture(scope="module")
def private_key(key_file):
    return read_private_key(key_file.read_bytes(), lambda: PASSPHRASE)


@pytest.fixture
def prepared(local, keys, monkeypatch, private_key):
    """A warehouse with a vault, and three logins that are merged: two of ann, one of bob."""
    monkeypatch.setenv("TEST_POSTGRES", local.postgres)
    with prepared_warehouse(local.postgres) as warehouse:
        with login(local.postgres, "olga") as officer:
            register_recipient(officer, public_bytes(private_key))
        land(warehouse, keys(1), ANN, ANN, BOB)
        yield warehouse


def land(warehouse, keyring, *events):
    messages = [Message(uuid4(), NOW, 1, json.dumps(event)) for event in events]
    stage(warehouse, [(message, parse(message)) for message in messages], [], keyring=keyring, origin=ORIGIN)
    merge(warehouse)


@pytest.fixture
def owner(local, prepared):
    with local.connect() as superuser:
        yield superuser


@pytest.fixture
def olga(local, prepared):
    with login(local.postgres, "olga") as officer:
        yield officer


def request(*masks, run_id="a run", requester="rita", case="C-1"):
    return Request(run_id, requester, case, "a chargeback", masks)


def masks_of(keyring, event):
    return [keyring.mask(event[field], field=field) for field in ("ip", "device_id")]


def granted(warehouse, asked):
    """Ask, and let ben approve; return the request's number."""
    disclosure.ask(warehouse, asked)
    assert disclosure.decide(warehouse, asked, approver="ben", approve=True) == "approved"
    return number(asked)


def number(asked):
    with login(os.environ["TEST_POSTGRES"], "uwe") as auditor:
        query = "select request_id from privacy.requests where run_id = %s"
        return auditor.execute(query, [asked.run_id]).fetchone()[0]


def command(*arguments):
    return [sys.executable, "-m", "include.privacy", *map(str, arguments)]


def officer_environment(local, person="olga"):
    return os.environ | local.libpq_environment(person)


def at_terminal(local, *arguments, person="olga"):
    return AtTerminal(command(*arguments), officer_environment(local, person), PROJECT)


def reveal(local, request_id, key_file, answer="yes", passphrase=PASSPHRASE):
    """What an officer sees who types passphrase and answer, where not None; the exit code, and the text."""
    shell = at_terminal(local, "reveal", request_id, "--key", key_file)
    if passphrase:
        shell.answer("passphrase of the key: ", passphrase)
    if answer:
        shell.answer("Show them? The trail will have it. [yes/no]", answer)
    return shell.end()


def piped(local, *arguments, given=b"", person="olga"):
    """What somebody gets who has no terminal."""
    done = subprocess.run(
        command(*arguments),
        cwd=PROJECT,
        env=officer_environment(local, person),
        input=given,
        capture_output=True,
        check=False,
        start_new_session=True,
    )
    assert b"Traceback" not in done.stderr
    return done.returncode, (done.stdout + done.stderr).decode().strip()


def events(connection):
    """What happened, by the trail."""
    entries = connection.execute("select entry from privacy.audit order by seq").fetchall()
    return [json.loads(entry)["event"] for (entry,) in entries]


def test_two_people_together_see_originals_and_the_trail_has_it(local, prepared, keys, key_file, owner):
    asked = request(*masks_of(keys(1), ANN))
    assert disclosure.ask(prepared, asked) == 2
    with pytest.raises(FailedCheck, match="nothing is granted: own request"):
        disclosure.decide(prepared, asked, approver=" RITA", approve=True)
    assert disclosure.decide(prepared, asked, approver="ben", approve=True) == "approved"

    code, shown = reveal(local, number(asked), key_file)
    assert code == 0
    assert re.search(r"asked by +rita, .*\napproved by +ben\nbecause +a chargeback\n", shown)
    assert re.search(rf"^ip +{asked.masks[0]} +'192\.0\.2\.7'$", shown, re.MULTILINE)
    assert re.search(rf"^device_id +{asked.masks[1]} +'\\x1b\[2Jdevice of ann'$", shown, re.MULTILINE)
    assert "\x1b" not in shown
    assert "device of bob" not in shown
    assert PASSPHRASE not in shown
    assert events(owner) == [
        *("recipient registered", "disclosure asked", "decision refused", "disclosure approved", "disclosed"),
    ]
    assert verify(owner).seq == 5
    assert owner.execute("select officer, xact is not null from privacy.disclosures").fetchall() == [("olga", True)]
    lasts = "select date_trunc('minute', valid_until - decided_at + interval '1 second') from privacy.requests"
    assert owner.execute(lasts).fetchone() == (timedelta(hours=24),)
    trail = str(owner.execute("select entry from privacy.audit").fetchall())
    assert not any(secret in trail for secret in (*asked.masks, "192.0.2.7", "ann-1234", "chargeback"))

    keys(2)
    rotate()  # the grant is of messages, not of masks
    assert "192.0.2.7" in reveal(local, number(asked), key_file)[1]
    assert events(owner)[-1] == "disclosed"


@pytest.mark.parametrize(
    ("becomes", "sentence"),
    [
        ("update privacy.requests set valid_until = now()", "its grant has expired: ask again, with a new run of"),
        ("update privacy.requests set approved = false, valid_until = null", "it was rejected"),
        (
            "update privacy.requests set approved = null, approver = null, decided_at = null, valid_until = null",
            "nobody has decided it yet: an approver does, in Airflow, under Required Actions",
        ),
        (
            "update privacy.requests set approved = false, approver = null, valid_until = null",
            "nobody decided it in time",
        ),
        ("select privacy.revoke(1)", "it was revoked"),
    ],
)
def test_what_is_not_granted_is_not_shown_and_says_why(local, prepared, keys, key_file, owner, becomes, sentence):
    granted(prepared, request(*masks_of(keys(1), ANN)))
    owner.execute(becomes)
    code, shown = reveal(local, 1, key_file, passphrase=None, answer=None)
    assert code == 1
    assert f"request 1: {sentence}" in shown
    assert "192.0.2" not in shown
    assert events(owner)[-1] == "disclosure refused"


def test_a_wrong_key_a_wrong_passphrase_a_pipe_and_a_no_show_nothing(local, prepared, keys, key_file, owner, tmp_path):
    granted(prepared, request(*masks_of(keys(1), ANN)))
    other = tmp_path / "other.pem"
    key_id = key_id_of(public_bytes(make_key_file(other, PASSPHRASE)))
    code, shown = reveal(local, 1, other, answer=None)
    assert (code, f"this key, {key_id}, is not one of those that originals are sealed to" in shown) == (1, True)
    code, shown = reveal(local, 1, key_file, passphrase="abcde-fghij", answer=None)
    assert (code, "the passphrase does not open this key: type it as keygen has shown it" in shown) == (1, True)
    code, shown = reveal(local, 1, key_file, answer="y")
    assert (code, "nothing was read" in shown) == (1, True)
    code, said = piped(local, "reveal", 1, "--key", key_file)
    assert (code, said) == (
        1,
        "an original is shown on a terminal only: run it in one, without a pipe or a file behind it",
    )
    shell = at_terminal(local, "reveal", 7, "--key", key_file)
    assert shell.end() == (1, "request 7: there is no such request: python -m include.privacy requests lists them\n")
    assert "disclosed" not in events(owner)


def test_a_key_may_come_from_another_program_without_a_passphrase(local, prepared, keys, private_key, tmp_path):
    granted(prepared, request(*masks_of(keys(1), BOB)))
    plain = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "decrypted").write_bytes(plain)
    line = f"cat {tmp_path}/decrypted | {' '.join(command('reveal', 1, '--key', '-'))}"
    shell = AtTerminal(["sh", "-c", line], officer_environment(local), PROJECT)
    shell.answer("[yes/no]", "yes")
    code, shown = shell.end()
    assert (code, "198.51.100.9" in shown) == (0, True)


def test_a_disclosure_that_is_rolled_back_reads_nothing(prepared, keys, olga, owner, private_key):
    key_id = key_id_of(public_bytes(private_key))
    granted(prepared, request(*masks_of(keys(1), ANN)))
    assert disclosed(olga, 1, key_id=key_id) == []
    with olga.transaction(force_rollback=True):
        assert disclose(olga, 1) == "disclosed"
        assert disclosed(olga, 1, key_id=key_id) == []
    for undo in ("rollback to one", "release one"):
        olga.execute("begin; savepoint one; select privacy.disclose(1)")
        assert disclosed(olga, 1, key_id=key_id) == []
        olga.execute(undo)
        assert disclosed(olga, 1, key_id=key_id) == []
        olga.execute("rollback")
    assert disclosed(olga, 1, key_id=key_id) == []
    assert "disclosed" not in events(owner)

    assert disclose(olga, 1) == "disclosed"
    assert [item.field for item in disclosed(olga, 1, key_id=key_id)] == ["device_id", "ip"]
    assert all(item.sealed_key is None for item in disclosed(olga, 1, key_id="0123abcd"))
    owner.execute("grant privacy_officer to stranger")
    with login(os.environ["TEST_POSTGRES"], "stranger") as another:
        assert disclosed(another, 1, key_id=key_id) == []  # that was olga's
    owner.execute("update privacy.disclosures set at = at - interval '6 minutes', xact = '9223372036854775807'")
    assert disclosed(olga, 1, key_id=key_id) == []  # and in a restored database such a transaction is no error


def test_what_was_erased_or_is_over_is_not_shown_and_the_rest_is(local, prepared, keys, key_file, owner):
    granted(prepared, request(*masks_of(keys(1), ANN), *masks_of(keys(1), BOB)))
    with login(local.postgres, "olga") as officer:
        ask_erasure(officer, case_number="C-2", user_id=ANN["user_id"])
    assert erase_all()["originals"] == 2
    code, shown = reveal(local, 1, key_file)
    assert code == 0
    assert "192.0.2.7" not in shown
    assert "device of bob" in shown
    assert "erased since it was asked for: 2 of 4" in shown
    owner.execute("truncate privacy.originals")
    _, shown = reveal(local, 1, key_file)
    assert shown.count("(not kept any more, or never: expired, erased, or from before the vault)") == 2
    assert "device of bob" not in shown


def test_what_somebody_has_changed_in_the_database_does_not_open(local, prepared, keys, key_file, owner):
    granted(prepared, request(*masks_of(keys(1), ANN)))
    ids = owner.execute("select message_id from privacy.originals where sealed_device_id is not null").fetchall()
    owner.execute(
        "update privacy.originals set sealed_ip = (select sealed_ip from privacy.originals where message_id = %s) ",
        ids[2],
    )
    _, shown = reveal(local, 1, key_file)
    assert re.search(r"^ip .*\(does not open: it is not what was sealed\)$", shown, re.MULTILINE)
    owner.execute("update privacy.data_keys set sealed_key = sha256(sealed_key)")
    _, shown = reveal(local, 1, key_file)
    assert shown.count("(does not open: it is not what was sealed)") == 2


def test_a_person_who_asks_sees_all_that_is_stored(local, prepared, key_file, owner, monkeypatch, caplog):
    code, said = piped(local, "access", "--case", "C-7", given=b"ann-1234\n")
    assert (code, said) == (0, "noted; trigger disclose_pii with case C-7 and a reason, and no masks")
    for given, sentence in (
        (b"bob-1234\n", "this case number is in use: nothing is noted"),
        (b"", "a case is about one person: 0 user ids were given"),
        (b"a\nb\n", "a case is about one person: 2 user ids were given"),
    ):
        assert piped(local, "access", "--case", "C-7", given=given) == (1, sentence)
    with pytest.raises(FailedCheck, match="case C-8 is about nobody: give masks, or let an officer run"):
        disclosure.ask(prepared, request(case="C-8"))
    asked = request(case="C-7")
    assert asked.is_access
    granted(prepared, asked)
    with monkeypatch.context() as few:
        few.setattr(disclosure, "MOST_ROWS", 1)
        assert disclosure.ask(prepared, request(case="C-7", run_id="of the newest row")) == 1
        assert "the person has more than 1 rows: the newest are asked for" in caplog.text
    owner.execute("select privacy.revoke(2)")
    assert maintenance.privacy_upkeep()["requests"] == "1 ended"
    code, shown = reveal(local, 1, key_file)
    assert code == 0
    assert re.search(r"^for +a person's rows: 2$", shown, re.MULTILINE)
    row = rf"^ann-1234 +{datetime.now(UTC):%Y-%m-%d} +DE +'192\.0\.2\.7' +'\\x1b\[2Jdevice of ann'$"
    assert len(re.findall(row, shown, re.MULTILINE)) == 2
    assert "bob" not in shown

    assert maintenance.privacy_upkeep()["requests"] == "0 ended"
    assert owner.execute("select user_id from privacy.accesses").fetchall() == [("ann-1234",)]
    owner.execute("update privacy.requests set valid_until = now()")
    assert maintenance.privacy_upkeep()["requests"] == "1 ended"
    assert owner.execute("select user_id, ended_at is null from privacy.accesses").fetchall() == [(None, False)]
    assert owner.execute("select count(*) from privacy.request_items").fetchone() == (0,)
    assert piped(local, "access", "--case", "C-7", given=b"ann-1234")[0] == 0  # once more
    maintenance.privacy_upkeep()  # which comes before somebody asks
    assert disclosure.ask(prepared, request(case="C-7", run_id="another")) == 2


def test_requests_end(local, prepared, keys, owner):
    ann = masks_of(keys(1), ANN)
    disclosure.ask(prepared, request(*ann))
    owner.execute("update privacy.requests set asked_at = now() - interval '8 days'")
    granted(prepared, request(*ann, run_id="another"))
    owner.execute("select privacy.ask_access('C-9', 'somebody')")
    assert maintenance.privacy_upkeep()["requests"] == "1 ended"
    assert owner.execute("select approved, approver, reason from privacy.requests order by 1").fetchall() == [
        (False, None, "a chargeback"),
        (True, "ben", "a chargeback"),
    ]
    with pytest.raises(FailedCheck, match="already decided"):
        disclosure.decide(prepared, request(*ann), approver="ben", approve=True)
    assert owner.execute("select user_id from privacy.accesses").fetchall() == [("somebody",)]
    owner.execute("update privacy.accesses set asked_at = asked_at - interval '31 days'")
    owner.execute("update privacy.requests set decided_at = decided_at - interval '91 days'")
    maintenance.privacy_upkeep()
    assert owner.execute("select reason from privacy.requests").fetchall() == [(None,)] * 2
    assert owner.execute("select user_id from privacy.accesses").fetchall() == [(None,)]


def test_who_is_erased_is_erased_from_what_was_noted_about_a_case(local, prepared, keys, owner):
    piped(local, "access", "--case", "C-7", given=b"ann-1234\n")
    granted(prepared, request(case="C-7"))
    with login(local.postgres, "olga") as officer:
        ask_erasure(officer, case_number="C-2", user_id=ANN["user_id"])
    erase_all()
    assert owner.execute("select user_id from privacy.accesses").fetchall() == [(None,)]
    assert owner.execute("select count(*) from privacy.request_items").fetchone() == (0,)


@pytest.mark.parametrize("by_masks", [False, True])
def test_nothing_is_noted_of_who_is_being_erased(prepared, keys, owner, local, monkeypatch, by_masks):
    """An erasure that comes between finding rows and noting them waits, and then deletes what was noted."""
    with login(local.postgres, "olga") as officer:
        ask_erasure(officer, case_number="C-2", user_id=ANN["user_id"])
        ids = erasure.plan_erasure()
        erasure.raise_tombstones(ids)
        ask_access(officer, case_number="C-7", user_id=ANN["user_id"])
    found = []

    def erase_meanwhile(connection, request, items):
        found.extend(items)
        running.append(pool.submit(erasure.erase_rows, ids, {}))
        with pytest.raises(TimeoutError):
            running[0].result(1)
        return note(connection, request, items)

    note, running = requests.ask, []
    monkeypatch.setattr(requests, "ask", erase_meanwhile)
    with ThreadPoolExecutor(1) as pool:
        assert disclosure.ask(prepared, request(*masks_of(keys(1), ANN) * by_masks, case="C-7")) == 2
        assert running[0].result(60)["erased"] == 1
    assert found
    assert owner.execute("select count(*) from privacy.request_items").fetchone() == (0,)
    assert owner.execute("select count(*) from privacy.accesses where user_id is not null").fetchone() == (0,)


def test_who_is_asked_for_again_while_being_erased_stays_in_the_queue(prepared, keys, local, monkeypatch):
    def ask_again(*arguments):
        found = raised(*arguments)
        with login(local.postgres, "olga") as officer:
            assert ask_erasure(officer, case_number="C-3", user_id=ANN["user_id"]).startswith("already queued")
        return found

    with login(local.postgres, "olga") as officer:
        ask_erasure(officer, case_number="C-2", user_id=ANN["user_id"])
    ids = erasure.plan_erasure()
    erasure.raise_tombstones(ids)
    raised = batches_erasure._raised  # noqa: SLF001 - between it and the first transaction
    monkeypatch.setattr(batches_erasure, "_raised", ask_again)
    with pytest.raises(FailedCheck, match="somebody has asked for it again meanwhile: clear raise_tombstones"):
        erasure.erase_rows(ids, {})
    monkeypatch.setattr(batches_erasure, "_raised", raised)
    assert [each.erasure_id for each in waiting(prepared)] == ids
    assert prepared.execute("select count(user_id) from public.user_logins").fetchone() == (3,)
    assert erase_all()["originals"] == 2


def test_who_asks_for_an_erasure_meanwhile_does_not_deadlock_with_it(prepared, owner, local):
    """Both lock the person's place in the queue first, and the head of the trail last."""
    waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = 'warehouse'"

    def wait_for(number):
        for _ in range(300):
            if owner.execute(waits).fetchone() == (number,):
                return
            sleep(0.01)
        raise AssertionError(owner.execute(waits).fetchone())

    erase = "select verdict from privacy.erase(1, '{}', now() + interval '1 hour', '{}')"
    with (
        login(local.postgres, "olga") as officer,
        login(local.postgres, "postgres") as holder,
        ThreadPoolExecutor(2) as pool,
    ):
        ask_erasure(officer, case_number="C-2", user_id=ANN["user_id"])
        with holder.transaction():
            holder.execute("select from privacy.audit_head for update")
            erasing = pool.submit(lambda: prepared.execute(erase).fetchone())
            wait_for(1)
            asking = pool.submit(ask_erasure, officer, case_number="C-3", user_id=ANN["user_id"])
            wait_for(2)
        assert erasing.result(60) == ("erased",)
        assert asking.result(60) == "queued"


def test_what_the_pipeline_has_made_up_is_not_obeyed_by_the_terminal(local, prepared, keys, key_file, owner):
    item = Item(1, 1, "ip", "\x1b]0;owned\x07")
    with pytest.raises(psycopg.errors.CheckViolation):
        requests.ask(prepared, request("m"), [item])
    disclosure.ask(prepared, asked := request(*masks_of(keys(1), ANN), requester="r\u202eita"))
    assert disclosure.decide(prepared, asked, approver="ben", approve=True) == "approved"
    _, shown = reveal(local, number(asked), key_file)
    assert r"r\u202eita" in shown
    mask = masks_of(keys(1), ANN)[0]
    with pytest.raises(FailedCheck, match="the request is refused: nobody asked"):
        disclosure.ask(prepared, request(mask, requester=f"see {mask}", run_id="another"))


def test_what_ends_between_the_two_steps_is_not_called_erased(prepared, keys, private_key, olga, owner, monkeypatch):
    granted(prepared, request(*masks_of(keys(1), ANN)))

    def end_and_read(*arguments, **named):
        owner.execute("select privacy.revoke(1)")
        return disclosed(*arguments, **named)

    monkeypatch.setattr("include.privacy.reveal.disclosed", end_and_read)
    with pytest.raises(SetupError, match="request 1: it was revoked"):
        open_request(olga, 1, private_key, key_id=key_id_of(public_bytes(private_key)))


@pytest.mark.parametrize(
    ("arguments", "given", "sentence"),
    [
        (["revoke", "9" * 20], b"", "is no number of a request"),
        (["erase", "--case", "\udcff"], b"u\n", "an argument is not in UTF-8"),
        (
            ["erase", "--case", "C"],
            b"first\n\xff\n",
            "a user id is not in UTF-8: nothing of it, or behind it, is asked for",
        ),
        (["reveal", "1", "--key", "nowhere.pem"], b"", "an original is shown on a terminal only"),
        (["register", "nowhere.pem"], b"", "nowhere.pem cannot be read: No such file or directory"),
        (["register", "-"], b"", "this is no private key in PEM: give the file that keygen made"),
    ],
)
def test_what_is_typed_wrong_is_one_sentence(local, prepared, arguments, given, sentence):
    code, said = piped(local, *arguments, given=given)
    assert (code in (1, 2), sentence in said) == (True, True)


def test_without_a_terminal_no_passphrase_is_asked_for(local, prepared, key_file):
    assert piped(local, "register", key_file) == (1, "there is no terminal to ask for the passphrase at: run it in one")


def test_the_end_of_input_ends_the_user_ids(local, prepared, owner):
    shell = at_terminal(local, "erase", "--case", "C-1")
    shell.answer("user id (an empty line ends): ", "somebody")
    shell.answer("user id (an empty line ends): ", "\x04")
    code, shown = shell.end()
    assert (code, "queued: 1" in shown) == (0, True)


@pytest.mark.parametrize("variable", [{"PGCLIENTENCODING": "SQL_ASCII"}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}])
def test_any_locale_and_client_encoding_will_do(local, prepared, keys, key_file, variable, monkeypatch):
    land(prepared, keys(1), {"user_id": "li", "device_id": "\u4e2d\u6587"})
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    granted(prepared, request(keys(1).mask("\u4e2d\u6587", field="device_id")))
    code, shown = reveal(local, 1, key_file)
    assert (code, "\u4e2d\u6587" in shown or "\\u4e2d\\u6587" in shown) == (0, True)
    assert piped(local, "requests")[1].split("\n")[2].startswith("1 ")
    assert piped(local, "verify", person="uwe")[1].startswith("whole: ")


def test_a_key_file_on_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(SetupError, match=r"key\.pem cannot be written: No space left on device"):
        make_key_file(tmp_path / "key.pem", "x")
    assert not (tmp_path / "key.pem").exists()


def test_a_key_is_made_shown_once_and_registered(local, prepared, tmp_path):
    path = tmp_path / "new.pem"
    assert piped(local, "keygen", path) == (
        1,
        "the passphrase is shown on a terminal only: run it in one, without a pipe or a file behind it",
    )
    assert not path.exists()
    code, shown = at_terminal(local, "keygen", path).end()
    words = re.search(r"^passphrase: ([a-z2-7]{5}(-[a-z2-7]{1,5}){5})$", shown, re.MULTILINE)[1]
    assert (code, path.stat().st_mode & 0o777) == (0, 0o600)
    assert words not in path.read_text()
    code, shown = at_terminal(local, "keygen", path).end()
    assert (code, shown) == (1, f"{path} is there already, and is left as it is: name another file\n")

    shell = at_terminal(local, "register", path)
    shell.answer("passphrase of the key: ", f" {words.upper()} ")
    code, shown = shell.end()
    key_id = key_id_of(public_bytes(read_private_key(path.read_bytes(), lambda: words)))
    assert code == 0
    assert shown.endswith(f"key {key_id}: registered; originals are sealed to it from the next batch on\n")


def test_files_that_are_no_key_of_ours_are_refused_in_one_sentence(tmp_path):
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = X25519PrivateKey.generate().public_key()
    public_pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for content, sentence in (
        (pem, "this is a private key of another kind than X25519: give the file that keygen made"),
        (public_pem, "this is no private key in PEM: give the file that keygen made"),
        (b"", "this is no private key in PEM: give the file that keygen made"),
    ):
        with pytest.raises(SetupError, match=sentence):
            read_private_key(content, lambda: "")
    with pytest.raises(SetupError, match="cannot be written: No such file or directory"):
        make_key_file(tmp_path / "nowhere" / "key.pem", "x")


def test_the_other_commands(local, prepared, keys, private_key, owner):
    key_id = key_id_of(public_bytes(private_key))
    assert piped(local, "requests") == (0, "no request: the DAG disclose_pii asks")
    granted(prepared, request(*masks_of(keys(1), ANN)))
    code, said = piped(local, "requests", person="uwe")
    assert code == 0
    assert re.search(r"^1 +C-1 +masks: 2 +rita +ben +granted +\S+ \S+ UTC +a chargeback$", said, re.MULTILINE)
    assert piped(local, "revoke", 1, person="uwe") == (0, "request 1: revoked")
    assert piped(local, "revoke", 1) == (1, "request 1 is not revoked: revoked before")
    assert piped(local, "revoke", 1, person="ann")[1].endswith("it takes a login in privacy_officer or privacy_auditor")
    assert piped(local, "retire", key_id)[1].endswith("the role that made the roles there")
    assert piped(local, "retire", key_id, person="dba") == (
        0,
        f"key {key_id}: retired; no key is left, so no originals are kept from now on",
    )
    assert piped(local, "retire", key_id, person="dba") == (1, f"key {key_id}: no such key in use")
    assert piped(local, "settings", person="dba")[1].startswith("nothing to change: give --keep-originals-days")
    assert piped(local, "settings", "--grant-hours", "48", person="dba")[0] == 0
    assert piped(local, "settings", "--grant-hours", "0", person="dba") == (
        1,
        "--grant-hours is a number from 1 to 720: nothing is changed",
    )
    assert owner.execute("select keep_originals_days, grant_hours from privacy.settings").fetchone() == (90, 48)
    nobody = "select count(*) from pg_auth_members where roleid = 'privacy_owner'::regrole and set_option"
    assert owner.execute(nobody).fetchone() == (0,)
    assert events(owner)[-3:] == ["revocation refused", "recipient retired", "settings changed"]

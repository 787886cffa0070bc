"""The vault: originals are kept with what is staged, sealed, for those whose public key is registered; and they end."""

import json
import os
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from traceback import TracebackException
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from include import maintenance, pipeline
from include.batches.check import check_staging
from include.batches.rejected import Selection
from include.batches.staging import stage
from include.connections import warehouse_connection
from include.events.login import RejectedMessage, parse
from include.events.message import Message, Origin, Run
from include.failures import SetupError
from include.privacy.erasures import ask_erasure
from include.privacy.install import as_owner
from include.privacy.keys import public_bytes
from include.privacy.masking import Keyring
from include.privacy.originals import (
    Vault,
    change_settings,
    find_vault,
    make_days,
    prepare_vault,
    register_recipient,
    retire_recipient,
)
from include.privacy.vault import DataKey, key_id_of, open_data_key
from sandbox.events import send
from sandbox.servers import PROJECT
from tests.integration.test_kill_points import EVERY_POINT, name
from tests.support.hostile import CORPUS
from tests.support.independent import open_original
from tests.support.merging import merge
from tests.support.privacy import login, originals, prepared_warehouse, recipient
from tests.support.queues import left_on, show_again
from tests.support.worker import Conversation, erase, exit_code, rotate, run, run_in_small_chunks

NOW = datetime.now(UTC) - timedelta(minutes=1)
ORIGIN = Origin(Run("user_logins", "a run"), 0, 1, NOW)
MESSAGE = UUID("6f1c2b1e-8b0a-4a52-9d6c-0d5d6a0f3b11")
KEPT = "select count(*), count(distinct batch_id) from privacy.originals"
UNLIKE = """
select count(*) filter (where kept.message_id is null), count(*) filter (where staged.message_id is null)
from (select batch_id, message_id from login_etl.staging_logins where masked_ip is not null) as staged
full join privacy.originals as kept using (batch_id, message_id)
"""


def logins(*events):
    messages = [Message(uuid4(), NOW, 1, json.dumps(event)) for event in events]
    return [(message, parse(message)) for message in messages]


def of(user, **fields):
    return {"user_id": user, "ip": f"192.0.2.{len(user)}", "device_id": f"of {user}"} | fields


@pytest.fixture
def prepared(local, keys, monkeypatch):
    """A warehouse with schema privacy, as the pipeline has it."""
    monkeypatch.setenv("TEST_POSTGRES", local.postgres)
    with prepared_warehouse(local.postgres) as warehouse:
        yield warehouse


@pytest.fixture
def key(local, prepared):
    """The private key of the one recipient; the days are made."""
    private_key = recipient(local.postgres)
    prepare_vault(prepared)
    return private_key


@pytest.fixture
def owner(local, prepared):
    with local.connect() as superuser:
        yield superuser


def test_it_is_off_until_somebody_registers_a_key(prepared, owner, keys, local):
    prepare_vault(prepared)
    assert find_vault(prepared) == Vault(is_on=False)
    stage(prepared, logins(of("ann")), [], keyring=keys(1), origin=ORIGIN)
    assert owner.execute(KEPT).fetchone() == (0, 0)
    recipient(local.postgres)
    assert find_vault(prepared) == Vault(is_on=True, has_today=True)  # for runs that are under way
    stage(prepared, logins(of("ann"), of("bob")), [], keyring=keys(1), origin=ORIGIN)
    assert owner.execute(KEPT).fetchone() == (2, 1)


def test_what_was_sent_is_kept_and_what_was_not_is_not(prepared, owner, keys, key):
    sent = logins(
        of("ann", ip=" 192.0.2.1:443 "), of("bob", device_id=None), {"user_id": "eve"}, of("dan", ip="x" * 256)
    )
    stage(prepared, sent, [], keyring=keys(1), origin=ORIGIN)
    ann, bob, _, dan = (message.message_id for message, _ in sent)
    assert originals(owner, key) == {
        ann: [(" 192.0.2.1:443 ", "of ann")],
        bob: [("192.0.2.3", None)],
        dan: [("x" * 256, "of dan")],
    }
    lengths = owner.execute("select distinct length(sealed_device_id) from privacy.originals").fetchall()
    assert set(lengths) == {(92,), (None,)}


def test_each_recipient_can_open_them_and_a_retired_one_only_what_was_before(prepared, owner, keys, key, local):
    safe = recipient(local.postgres)
    stage(prepared, logins(of("ann")), [], keyring=keys(1), origin=ORIGIN)
    with login(local.postgres, "dba") as dba:
        with as_owner(dba):
            assert retire_recipient(dba, key_id_of(public_bytes(key))) == "retired"
        with as_owner(dba):
            assert retire_recipient(dba, key_id_of(public_bytes(key))) == "no such key in use"
    stage(prepared, logins(of("bob")), [], keyring=keys(1), origin=ORIGIN)
    assert sorted(device for [(_, device)] in originals(owner, safe).values()) == ["of ann", "of bob"]
    assert [device for [(_, device)] in originals(owner, key).values()] == ["of ann"]
    with login(local.postgres, "olga") as officer:
        assert register_recipient(officer, public_bytes(key)) == "retired"
        assert register_recipient(officer, public_bytes(safe)) == "already registered"
        for no_key in (b"x" * 31, bytes(32), b"\1" + bytes(31), b"x" * 31 + b"\x80"):
            assert register_recipient(officer, no_key) == "not a public key"
    with login(local.postgres, "dba") as dba, as_owner(dba):
        last = retire_recipient(dba, key_id_of(public_bytes(safe)))
    assert last == "retired; no key is left, so no originals are kept from now on"
    assert find_vault(prepared) == Vault(is_on=False)


def test_what_is_sealed_is_not_taken_for_anothers(key):
    public_key, data_key = public_bytes(key), DataKey()
    sealed_key = data_key.sealed_to(public_key, batch_id=5)
    opened = open_data_key(sealed_key, key, batch_id=5)
    another = open_data_key(DataKey().sealed_to(public_key, batch_id=5), key, batch_id=5)
    sealed, same = (data_key.seal("192.0.2.1", field="ip", message_id=MESSAGE) for _ in range(2))
    assert sealed != same
    for other in (
        lambda: opened.open(sealed, field="device_id", message_id=MESSAGE),
        lambda: opened.open(sealed, field="ip", message_id=uuid4()),
        lambda: opened.open(sealed[:-1], field="ip", message_id=MESSAGE),
        lambda: opened.open(b"short", field="ip", message_id=MESSAGE),
        lambda: another.open(sealed, field="ip", message_id=MESSAGE),
        lambda: open_data_key(sealed_key, key, batch_id=6),
        lambda: open_data_key(sealed_key, X25519PrivateKey.generate(), batch_id=5),
    ):
        with pytest.raises(InvalidTag):
            other()
    assert opened.open(sealed, field="ip", message_id=MESSAGE) == "192.0.2.1"


@pytest.mark.parametrize("value", ["", "192.0.2.1", "x" * 63, "x" * 64, "\u00e9\u4e2d" * 40])
def test_an_independent_implementation_opens_it(key, value):
    data_key = DataKey()
    sealed_key = data_key.sealed_to(public_bytes(key), batch_id=2**40)
    sealed = data_key.seal(value, field="device_id", message_id=MESSAGE)
    where = {"batch_id": 2**40, "field": "device_id", "message_id": MESSAGE}
    assert open_original(sealed, sealed_key, key.private_bytes_raw(), **where) == value
    assert len(sealed) == 12 + 16 + 64 * (len(value.encode()) // 64 + 1)
    assert len(sealed_key) == 80
    with pytest.raises(ValueError, match="tag does not fit"):
        open_original(sealed, sealed_key, key.private_bytes_raw(), **where | {"field": "ip"})


def test_the_vectors_in_the_docs_are_opened_by_both():
    """They are frozen: originals that were sealed so must stay readable."""
    table = (PROJECT / "docs" / "privacy.md").read_text().partition("| test vector | hex |")[2]
    private, public, sealed_key, ip, device_id = (
        bytes.fromhex(each) for each in re.findall(r"\| `([0-9a-f]{64,})` \|$", table, re.MULTILINE)
    )
    private_key = X25519PrivateKey.from_private_bytes(private)
    assert (public_bytes(private_key), key_id_of(public)) == (public, "7574198e")
    opened = open_data_key(sealed_key, private_key, batch_id=1042)
    for field, sealed, value in (("ip", ip, "199.172.111.135"), ("device_id", device_id, "593-47-5928")):
        assert opened.open(sealed, field=field, message_id=MESSAGE) == value
        where = {"batch_id": 1042, "field": field, "message_id": MESSAGE}
        assert open_original(sealed, sealed_key, private, **where) == value


def test_a_rotation_has_nothing_to_do_in_it(prepared, owner, keys, key):
    sent = logins(of("ann"))
    stage(prepared, sent, [], keyring=keys(1), origin=ORIGIN)
    merge(prepared)
    before = owner.execute("select * from privacy.originals").fetchall()
    keys(2)
    rotate()
    assert owner.execute("select * from privacy.originals").fetchall() == before


def test_a_replay_keeps_originals_too(prepared, owner, keys, key):
    message = Message(uuid4(), NOW, 1, json.dumps(of("ann")))
    rejects = [(message, RejectedMessage([("body", "x")]))]
    stage(prepared, [], rejects, keyring=keys(1), origin=ORIGIN)
    replay = replace(ORIGIN, source="rejected_messages")
    assert pipeline.replay_messages(Selection(limit=9), origin=replay, dry_run=False)["staged"] == 1
    assert originals(owner, key) == {message.message_id: [("192.0.2.3", "of ann")]}


def test_who_is_forgotten_is_forgotten_here_and_does_not_come_back(prepared, owner, keys, key, local):
    sent = logins(of("ann"), of("bob"), of("ann"))
    stage(prepared, sent, [], keyring=keys(1), origin=ORIGIN)
    merge(prepared)
    stage(prepared, sent[:1], [], keyring=keys(1), origin=ORIGIN)  # a second copy
    with login(local.postgres, "olga") as officer:
        assert ask_erasure(officer, case_number="C-1", user_id="ann") == "queued"
    assert erase() == {"erased": 1, "user_logins": 2, "staging": 3, "bodies": 0, "originals": 3}
    stage(prepared, sent, [], keyring=keys(1), origin=ORIGIN)
    assert originals(owner, key) == {sent[1][0].message_id: [("192.0.2.3", "of bob")] * 2}
    trail = [json.loads(entry) for (entry,) in owner.execute("select entry from privacy.audit order by seq")]
    assert trail[-1]["event"] == "erased"
    assert trail[-1]["details"]["counts"]["originals"] == 3


def test_days_end_with_their_data_keys(prepared, owner, keys, key, local):
    stage(prepared, logins(of("ann")), [], keyring=keys(1), origin=ORIGIN)
    assert make_days(prepared, ahead=1) == 0
    assert make_days(prepared, ahead=9) == 2
    today = datetime.now(UTC).date()
    old = today - timedelta(days=91)
    owner.execute(f"create table privacy.originals_{old:%Y_%m_%d} (like privacy.originals including all)")
    owner.execute(f"alter table privacy.originals_{old:%Y_%m_%d} owner to privacy_owner")
    owner.execute(
        f"alter table privacy.originals attach partition privacy.originals_{old:%Y_%m_%d} "
        f"for values from ('{old}') to ('{old + timedelta(days=1)}')"
    )
    owner.execute("insert into privacy.originals values (%s, 99, gen_random_uuid(), 'x', 'x')", [old])
    owner.execute("insert into privacy.data_keys select %s, 99, key_id, 'x' from privacy.recipients", [old])
    assert maintenance.privacy_upkeep() | {"anchor of the trail": ""} == {
        "tombstones": "0 ended",
        "originals": "1 days expired",
        "requests": "0 ended",
        "anchor of the trail": "",
    }
    assert owner.execute("select count(*), max(staged_on) from privacy.data_keys").fetchone() == (1, today)
    with login(local.postgres, "dba") as dba, as_owner(dba):
        change_settings(dba, keep_originals_days=1, grant_hours=None)
    assert maintenance.privacy_upkeep()["originals"] == "0 days expired"
    assert owner.execute(KEPT).fetchone() == (1, 1)
    assert owner.execute("select keep_originals_days, grant_hours from privacy.settings").fetchone() == (1, 24)


def test_a_pipeline_that_could_not_be_kept_out_is_refused_before_a_message_is_taken(prepared, owner, keys, key, local):
    check_staging(prepared, keys(1))
    assert owner.execute(KEPT).fetchone() == (0, 0)  # tried, and rolled back
    with pytest.raises(
        SetupError, match="originals may have to be kept in schema privacy, and cannot be: postgres is a"
    ):
        prepare_vault(owner)
    with login(local.postgres, "dba") as dba:
        dba.execute("revoke privacy_pipeline from pipeline")
        with pytest.raises(SetupError, match="cannot be: pipeline may not use it: let a DBA run"):
            check_staging(prepared, keys(1))
        dba.execute("grant privacy_pipeline to pipeline")
    owner.execute("delete from privacy.schema_migrations where version > 3")
    with pytest.raises(SetupError, match="cannot be: it lacks 0004_disclosure: let a DBA run"):
        check_staging(prepared, keys(1))


def test_a_public_key_that_is_none_is_found_before_a_message_is_taken(prepared, owner, keys, key):
    owner.execute("insert into privacy.recipients values (%s, %s, 'me')", [key_id_of(bytes(32)), bytes(32)])
    with pytest.raises(SetupError, match=f"nothing can be sealed to key {key_id_of(bytes(32))} in privacy.recipients"):
        check_staging(prepared, keys(1))


def test_several_at_once_make_each_day_once(prepared, key, local):
    def make(_):
        with login(local.postgres, "pipeline") as warehouse:
            return make_days(warehouse, ahead=31)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(make, range(6))) == 31 - 7


def test_each_body_of_the_corpus_keeps_its_originals_as_they_were_sent(prepared, owner, keys, key):
    """Whatever a client puts into a field that is accepted; what is rejected has none, nor a data key."""
    accepted, rejected = [], []
    for body, _ in CORPUS.values():
        message = Message(uuid4(), NOW, 1, body)
        try:
            accepted.append((message, parse(message)))
        except RejectedMessage as reject:
            rejected.append((message, reject))
    stage(prepared, accepted, [], keyring=keys(1), origin=ORIGIN)
    stage(prepared, [], rejected, keyring=keys(1), origin=ORIGIN)
    sent = {message.message_id: [(login.ip, login.device_id)] for message, login in accepted}
    assert originals(owner, key) == {each: kept for each, kept in sent.items() if kept != [(None, None)]}
    assert len(accepted) > 50
    assert owner.execute("select count(*) from privacy.data_keys").fetchone() == (1,)


def test_a_table_that_refuses_originals_is_named(prepared, owner, keys, key):
    owner.execute("alter table privacy.originals add constraint none check (sealed_device_id is null)")
    with pytest.raises(SetupError, match=r"schema privacy refuses made-up originals \(.*constraint none"):
        check_staging(prepared, keys(1))


@pytest.mark.parametrize("wrong", ["the public key", "the masking key"])
def test_a_wrong_key_is_told_without_what_it_was_for(prepared, owner, keys, key, wrong):
    """Where tracebacks show local variables, as Airflow's do with DEV, those of whoever was landing are cut off."""
    keyring = keys(1)
    stage(prepared, logins(of("ann")), [], keyring=keyring, origin=ORIGIN)
    if wrong == "the public key":
        owner.execute("insert into privacy.recipients values (%s, %s, 'me')", [key_id_of(bytes(32)), bytes(32)])
    else:
        keyring = Keyring([secrets.token_bytes(32)])
    sent = logins(of("canary"))
    with pytest.raises(SetupError, match="key") as caught, warehouse_connection() as warehouse:
        stage(warehouse, sent, [], keyring=keyring, origin=ORIGIN)
    told = "".join(TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert sent[0][1].device_id not in told
    assert sent[0][1].ip not in told


def test_a_day_without_a_partition_lands_nothing_rather_than_without_originals(prepared, owner, keys, key):
    owner.execute(f"drop table privacy.originals_{datetime.now(UTC):%Y_%m_%d}")
    with pytest.raises(psycopg.errors.CheckViolation):
        stage(prepared, logins(of("ann")), [], keyring=keys(1), origin=ORIGIN)
    assert prepared.execute("select count(*) from login_etl.batches").fetchone() == (0,)
    check_staging(prepared, keys(1))  # as a look that changes nothing
    assert find_vault(prepared) == Vault(is_on=True, has_today=False)
    prepare_vault(prepared)
    stage(prepared, logins(of("ann")), [], keyring=keys(1), origin=ORIGIN)
    assert owner.execute(KEPT).fetchone() == (1, 1)


def test_a_run_killed_anywhere_keeps_originals_of_what_is_staged_and_of_nothing_else(
    prepared, owner, keys, local, proxies, impatient, queue_url, subtests
):
    key, sqs = recipient(local.postgres), local.client()
    environment = proxies.environment | {"AIRFLOW_CONN_PII_MASKING": os.environ["AIRFLOW_CONN_PII_MASKING"]}

    def send_some():
        send(sqs, queue_url, iter(json.dumps(of(f"user {number}")) for number in range(40)))

    send_some()
    proxies.let(undisturbed := Conversation())
    assert exit_code(environment, run_in_small_chunks, queue_url, "undisturbed", 40) == 0
    vault = [point for point in undisturbed.said if re.match(r"Postgres (copy|insert into) privacy\.", point[0])]
    assert len(vault) >= 2 * 2  # as many batches, and a check
    commits = [point for point in undisturbed.said if point[0].startswith("Postgres COMMIT")]
    chosen = [*vault, *commits[-6:]]
    for number, point in enumerate(chosen if EVERY_POINT else chosen[:: len(chosen) // 6]):
        with subtests.test(point=name(point, number % 2)):
            send_some()
            proxies.sqs.received.clear()
            proxies.let(Conversation(kill_at=point, done=bool(number % 2)))
            assert exit_code(environment, run_in_small_chunks, queue_url, f"killed {number}", 40) == -9
            assert owner.execute(UNLIKE).fetchone() == (0, 0)
            show_again(sqs, queue_url, proxies.sqs.handles())
            run(queue_url, f"next {number}", max(1, left_on(sqs, queue_url)))
            assert owner.execute(UNLIKE).fetchone() == (0, 0)
            assert prepared.execute("select count(*) from public.user_logins").fetchone() == (40 * (number + 2),)
    rows = owner.execute("select message_id, user_id from public.user_logins").fetchall()
    kept = originals(owner, key)
    assert {message_id: {device for _, device in kept[message_id]} for message_id, _ in rows} == {
        message_id: {f"of {user}"} for message_id, user in rows
    }

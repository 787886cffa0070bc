"""People are forgotten: in both tables, in rejected bodies, and in whatever comes again; nobody else is."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from include import erasure, maintenance, pipeline, rotation
from include.batches import shared as summary
from include.batches.reconciliation import FailedCheck
from include.batches.rejected import Selection
from include.batches.staging import stage
from include.batches.window import Window
from include.events.login import RejectedMessage, parse
from include.events.message import Message, Origin, Run
from include.failures import SetupError
from include.privacy import tombstones
from include.privacy.erasures import ask_erasure
from include.privacy.fence import pass_fence
from include.privacy.mentions import MOST_TEXTS, user_ids_in
from include.privacy.trail import verify
from include.warehouse.setup import prepare_warehouse
from include.warehouse.statements import statement
from tests.integration.test_adoption import table
from tests.support.beside import going_on
from tests.support.merging import merge
from tests.support.privacy import as_dba, install_privacy, login, prepared_warehouse
from tests.support.worker import Conversation, erase, exit_code, rotate

NOW = datetime.now(UTC) - timedelta(minutes=1)
ORIGIN = Origin(Run("user_logins", "a run"), 0, 1, NOW)
AGES = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
EVA, ADAM = "eva-424cdd21", "adam-199172"
REASON = RejectedMessage([("body", "x")])
COLUMNS = "user_id, masked_ip, masked_device_id"
EVERY_POINT = "SOAK_SECONDS" in os.environ
CHANGES = re.compile(r"Postgres (insert|update|with|select privacy)")


def logins(*users, sent=NOW):
    """A login of each, whose address and device are their own."""
    events = [{"user_id": user, "ip": f"192.0.2.{len(user)}", "device_id": f"of {user}"} for user in users]
    messages = [Message(uuid4(), sent, 1, json.dumps(event)) for event in events]
    return [(message, parse(message)) for message in messages]


def rejects(*bodies, sent=NOW, **attributes):
    return [(Message(uuid4(), sent, 1, body, attributes=attributes), REASON) for body in bodies]


def ask(*users):
    """As an officer does."""
    with login(os.environ["TEST_POSTGRES"], "olga") as officer:
        verdicts = [ask_erasure(officer, case_number=f"C-{number}", user_id=user) for number, user in enumerate(users)]
    assert verdicts == ["queued"] * len(users)


def people(warehouse, where="public.user_logins"):
    """How many rows each user has, and how many of them have a mask."""
    query = f"select coalesce(user_id, 'nobody'), count(*), count(masked_ip) + count(masked_device_id) from {where}"
    return {user: (rows, masks) for user, rows, masks in warehouse.execute(f"{query} group by 1")}


def bodies(warehouse):
    query = "select count(sealed_body) from login_etl.rejected_messages"
    return warehouse.execute(query).fetchone()[0]


def adds_up(warehouse):
    query = "select count(*) from login_etl.history where unbalanced_batches is not null"
    return warehouse.execute(query).fetchone() == (0,)


def shared(warehouse):
    """The view of shared addresses: users and logins by mask, without the order."""
    return {mask: counts for mask, *counts in warehouse.execute("select * from login_etl.shared_addresses")}


@pytest.fixture
def prepared(local, keys, monkeypatch):
    """A warehouse with schema privacy, as the pipeline has it."""
    monkeypatch.setenv("TEST_POSTGRES", local.postgres)
    with prepared_warehouse(local.postgres) as warehouse:
        yield warehouse


def test_a_person_is_forgotten_and_nothing_comes_back(prepared, keys, caplog):
    sent = logins(EVA, ADAM, EVA, "x" + EVA)
    stage(prepared, sent, [], keyring=keys(1), origin=ORIGIN)
    merge(prepared)
    stage(prepared, logins(EVA), rejects(f'{{"user": "{EVA}"}}', ADAM), keyring=keys(1), origin=ORIGIN)  # not merged
    ask(EVA)
    caplog.set_level("INFO")

    assert erasure.plan_erasure() == [1]
    assert re.search(r"1 +C-0 +2 +3 +1\n?", caplog.text)
    assert people(prepared) == {EVA: (2, 4), ADAM: (1, 2), "x" + EVA: (1, 2)}  # a plan changes nothing
    assert bodies(prepared) == 2
    assert erase() == {"erased": 1, "user_logins": 2, "staging": 3, "bodies": 1, "originals": 0}

    merge(prepared)
    others = {ADAM: (1, 2), "x" + EVA: (1, 2)}
    assert people(prepared) == others | {"nobody": (3, 0)}
    assert people(prepared, "login_etl.staging_logins") == others | {"nobody": (3, 0)}
    assert bodies(prepared) == 1
    assert prepared.execute("select user_id, counts from privacy.erasures").fetchall() == [
        (None, {"bodies": 1, "originals": 0, "staging": 3, "user_logins": 2})
    ]

    # Delivered again; and as a dead letter that was never landed.
    stage(prepared, [*sent, *logins(EVA)], [], keyring=keys(1), origin=replace(ORIGIN, source="dead_letter_queue"))
    merge(prepared)
    assert people(prepared) == others | {"nobody": (4, 0)}
    assert people(prepared, "login_etl.staging_logins") == {ADAM: (2, 4), "x" + EVA: (2, 4), "nobody": (6, 0)}
    # The day on which the first copies were staged is dropped, and all is rebuilt from the others.
    prepared.execute("delete from login_etl.staging_logins where batch_id < 3")
    assert pipeline.merge_user_logins(Run("user_logins", "rebuild"), window=AGES)["rebuilt"] == 0
    prepared.execute("delete from public.user_logins")
    assert pipeline.merge_user_logins(Run("user_logins", "rebuild 2"), window=AGES)["rebuilt"] == 5
    assert people(prepared) == others | {"nobody": (3, 0)}
    assert EVA not in caplog.text
    assert erase() == {}


def test_it_adds_up_and_the_trail_has_it(prepared, keys, local):
    stage(prepared, logins(EVA, ADAM), [], keyring=keys(1), origin=ORIGIN)
    stage(prepared, logins(EVA), [], keyring=keys(1), origin=ORIGIN)
    merge(prepared)
    ask(EVA, ADAM)
    assert erase() == {"erased": 2, "user_logins": 3, "staging": 3, "bodies": 0, "originals": 0}
    ask(EVA)
    assert erase() == {"erased": 1, "user_logins": 0, "staging": 0, "bodies": 0, "originals": 0}
    assert adds_up(prepared)
    with login(local.postgres, "uwe") as auditor:
        assert verify(auditor).seq == 6
        entries = [json.loads(entry) for (entry,) in auditor.execute("select entry from privacy.audit order by seq")]
    assert [(entry["by"], entry["event"]) for entry in entries] == [
        *[("olga", "erasure asked")] * 2,
        *[("pipeline", "erased")] * 2,
        ("olga", "erasure asked"),
        ("pipeline", "erased"),
    ]
    assert EVA not in str(entries)


def test_masks_that_a_person_shared_are_counted_anew(prepared, keys):
    """Three have the address of eleven letters, two that of nine; `logins` gives it by the length of the user id."""
    users = [ADAM, "bob-199172x", "cat-199172x", "bob-19917", "cat-19917", EVA]
    stage(prepared, logins(*users, ADAM), [], keyring=keys(1), origin=ORIGIN)
    merge(prepared)
    maintenance.count_shared()
    of_eleven, of_nine = (keys(1).mask(f"192.0.2.{length}", field="ip") for length in (11, 9))
    assert shared(prepared) == {of_eleven: [3, 4], of_nine: [2, 2]}
    ask(ADAM, "bob-19917", EVA)
    erase()
    assert shared(prepared) == {of_eleven: [2, 2]}
    maintenance.count_shared()
    assert shared(prepared) == {of_eleven: [2, 2]}


def test_a_mask_of_an_older_key_that_is_left_in_the_summary_goes_with_the_person(prepared, keys):
    """A rotation has changed the rows, and counts later."""
    stage(prepared, logins(EVA, "ida-424cdd21", ADAM, "bob-199172x", "cat-199172x"), [], keyring=keys(1), origin=ORIGIN)
    merge(prepared)
    maintenance.count_shared()
    assert len(shared(prepared)) == 2
    keys(2)
    rotation.switch_masking_key()
    rotation.rewrap_staging()
    rotation.rewrap_user_logins()
    ask(EVA)
    erase()
    assert shared(prepared) == {}
    rotation.count_shared()
    assert shared(prepared) == {keys(2).mask("192.0.2.11", field="ip"): [3, 3]}


def test_a_count_that_had_begun_before_does_not_bring_a_person_back(prepared, keys, monkeypatch):
    stage(prepared, logins(ADAM, "bob-199172x", "cat-199172x"), [], keyring=keys(1), origin=ORIGIN)
    merge(prepared)
    ask(ADAM)
    take_turn, erased = summary.take_turn, []

    def erase_first(connection, turn):
        """The count has read the table, and waits."""
        if not erased:
            erased.append(erase())
        take_turn(connection, turn)

    monkeypatch.setattr(summary, "take_turn", erase_first)
    assert maintenance.count_shared() == {"devices": "0 shared", "addresses": "1 shared"}
    assert erased == [{"erased": 1, "user_logins": 1, "staging": 1, "bodies": 0, "originals": 0}]
    assert shared(prepared) == {keys(1).mask("192.0.2.11", field="ip"): [2, 2]}
    assert prepared.execute("select revision from login_etl.shared_counts").fetchone() == (2,)


def test_what_is_sent_later_stays(prepared, keys):
    stage(prepared, logins(EVA), [], keyring=keys(1), origin=ORIGIN)
    ask(EVA)
    ids = erasure.plan_erasure()
    erasure.raise_tombstones(ids)
    later = datetime.now(UTC) + timedelta(minutes=1)
    body = f'{{"user": "{EVA}"}}'
    both = [*rejects(body), *rejects(body, sent=later)]
    stage(prepared, [*logins(EVA), *logins(EVA, sent=later)], both, keyring=keys(1), origin=ORIGIN)
    merge(prepared)
    assert people(prepared) == {EVA: (2, 4), "nobody": (1, 0)}
    assert bodies(prepared) == 1  # of what was sent before, none was kept
    erasure.erase_rows(ids, erasure.forget_bodies(ids))
    assert people(prepared) == {EVA: (1, 2), "nobody": (2, 0)}
    assert people(prepared, "login_etl.staging_logins") == {EVA: (1, 2), "nobody": (2, 0)}
    assert bodies(prepared) == 1


NAMED = {
    "a value": f'{{"user": "{EVA}"}}',
    "a name": f'{{"{EVA}": 1}}',
    "escaped": '{"user_id": "' + "".join(f"\\u{ord(letter):04x}" for letter in EVA) + '"}',
    "twice": f'{{"user_id": "{EVA}", "user_id": "another"}}',
    "in an envelope": json.dumps({"Message": json.dumps({"detail": json.dumps({"user_id": EVA})})}),
    "in a list": json.dumps([[[EVA]]]),
    "behind a mark": f'\ufeff{{"user_id": "{EVA}"}}',
}
NAMED_IN_WORDS = {
    "cut off and escaped": '{"user": "\\u0065' + EVA[1:] + '"',
    "two events": '{"user": "\\u0065' + EVA[1:] + '"}{}',
    "in a sentence": f"user={EVA};",
    "cut off": f'{{"user_id": "{EVA}", ',
    "with others": f'{{"a": "x {EVA}"}}',
}
NOT_NAMED = ("", "null", "{}", "[" * 2_000, f'{{"user_id": "x{EVA}"}}', f'{{"user_id": "{EVA}1"}}', '{"user_id": 5}')


def test_rejected_bodies_that_name_a_person_are_forgotten(prepared, keys):
    attributes = {"user": {"DataType": "String", "StringValue": EVA}}
    named = [*rejects(*NAMED.values(), *NAMED_IN_WORDS.values()), *rejects("{}", **attributes)]
    others = rejects(*NOT_NAMED)
    stage(prepared, [], named + others, keyring=keys(1), origin=ORIGIN)
    ask(EVA)
    assert erase()["bodies"] == len(named)
    assert bodies(prepared) == len(others)
    rows = prepared.execute("select count(*) from login_etl.rejected_messages where reason = 'body: x'").fetchone()
    assert rows == (len(named + others),)  # why they were rejected is still there

    # Delivered again: what can be read is not kept, what is no JSON only the search finds, and its time ends.
    again = [(message, reject) for message, reject in named if message.body not in NAMED_IN_WORDS.values()]
    stage(prepared, [], [*again, *rejects(*NAMED.values())], keyring=keys(1), origin=ORIGIN)
    assert bodies(prepared) == len(others)


SHORT = ['{"user_id": 5}', '{"userId": "5"}', '{"User": ["x", "5"]}']
OTHERS_OF_5 = ['{"app_version": 5}', '{"count": "5", "user": "15"}', '{"v": "1.5.2"}', "5", '{"5": 1}', "user 5"]


def test_a_short_user_id_takes_no_bodies_of_others_along(prepared, keys):
    named, others = rejects(*SHORT), rejects(*OTHERS_OF_5)
    stage(prepared, [], named + others, keyring=keys(1), origin=ORIGIN)
    ask("5")
    assert erase()["bodies"] == len(named)
    stage(prepared, [], rejects(*SHORT, *OTHERS_OF_5), keyring=keys(1), origin=ORIGIN)
    assert bodies(prepared) == 2 * len(others)


@pytest.mark.parametrize("body", ['{"user": "\\ud800 and more"}', '{"user": "\ud800"}', "\ud800"])
def test_half_a_character_stops_no_batch(prepared, keys, body):
    ask(EVA)
    erase()
    stage(prepared, logins(ADAM), rejects(body), keyring=keys(1), origin=ORIGIN)
    assert people(prepared, "login_etl.staging_logins") == {ADAM: (1, 2)}
    assert bodies(prepared) == 1


def test_a_flood_of_texts_is_bounded(prepared, keys):
    flood = json.dumps([f"{number:08}" for number in range(50_000)])
    assert len(user_ids_in(Message(uuid4(), NOW, 1, flood))) == MOST_TEXTS
    assert user_ids_in(Message(uuid4(), NOW, 1, json.dumps({"user": "x" * 129, "y": "z" * 8}))) == {"z" * 8}
    large = '{"user_id": "' + EVA + '", "x": "' + "x" * 300_000 + '"}'
    ask(EVA)
    erase()
    stage(prepared, [], rejects(large), keyring=keys(1), origin=ORIGIN)
    assert bodies(prepared) == 0  # its size and its hash only, as ever


def test_a_body_that_was_forgotten_does_not_come_back(prepared, keys):
    """Not even one that cannot be read, whose words are looked at by the search only."""
    sent = rejects(*NAMED_IN_WORDS.values())
    stage(prepared, [], sent, keyring=keys(1), origin=ORIGIN)
    ask(EVA)
    assert erase()["bodies"] == len(sent)
    stage(prepared, [], sent, keyring=keys(1), origin=ORIGIN)
    assert bodies(prepared) == 0


def test_bodies_and_redelivered_rejects_do_not_wait_for_each_other(prepared, keys, local):
    sent = sorted(rejects(*[f'{{"user": "{EVA}"}}'] * 200), key=lambda pair: pair[0].message_id, reverse=True)
    for pair in sent:  # in the table as an index would not have them
        stage(prepared, [], [pair], keyring=keys(1), origin=ORIGIN)
    ask(EVA)
    ids = erasure.plan_erasure()
    erasure.raise_tombstones(ids)
    stop = Event()

    def again():
        with login(local.postgres, "pipeline") as connection:
            while not stop.is_set():
                stage(connection, [], sent, keyring=keys(1), origin=ORIGIN)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(again)
        try:
            for _ in range(5):
                prepared.execute(
                    "with all_of_them as materialized ("
                    "select message_id from login_etl.rejected_messages order by message_id for update) "
                    "update login_etl.rejected_messages set sealed_body = 'x', erased_at = null "
                    "where message_id in (select message_id from all_of_them)"
                )
                erasure.forget_bodies(ids)
                maintenance.forget_rejected_bodies(days=1)
        finally:
            stop.set()
        running.result(60)


def test_who_is_asked_for_again_is_forgotten_as_of_then(prepared, keys, local):
    stage(prepared, logins(EVA), [], keyring=keys(1), origin=ORIGIN)
    ask(EVA)
    ids = erasure.plan_erasure()
    erasure.raise_tombstones(ids)
    stage(prepared, logins(EVA, sent=datetime.now(UTC)), [], keyring=keys(1), origin=ORIGIN)
    merge(prepared)
    with login(local.postgres, "olga") as officer:
        assert ask_erasure(officer, case_number="C-2", user_id=EVA) == "already queued, now as C-0, C-2"
    with pytest.raises(FailedCheck, match="erasure 1 has no tombstone since it was asked for: clear raise_tombstones"):
        erasure.erase_rows(ids, {})
    assert erase()["user_logins"] == 2
    assert people(prepared) == {"nobody": (2, 0)}


def test_what_is_sent_later_stays_also_when_staging_has_it_no_more(prepared, keys):
    stage(prepared, logins(EVA), [], keyring=keys(1), origin=ORIGIN)
    ask(EVA)
    ids = erasure.plan_erasure()
    erasure.raise_tombstones(ids)
    stage(prepared, logins(EVA, sent=NOW + timedelta(days=2)), [], keyring=keys(1), origin=ORIGIN)
    merge(prepared)
    prepared.execute("truncate login_etl.staging_logins")
    assert erasure.erase_rows(ids, {})["user_logins"] == 1
    assert people(prepared) == {EVA: (1, 2), "nobody": (1, 0)}


def test_a_person_with_very_many_rows(prepared, keys):
    """No row is looked up in a list of all the others: in memory for few, that would take hours for many."""
    prepared.execute("set work_mem = '64kB'")
    stage(prepared, logins(*[EVA] * 3_000), [], keyring=keys(1), origin=ORIGIN)
    merge(prepared)
    prepared.execute("analyze public.user_logins, login_etl.staging_logins")
    values = {"user_id": EVA, "until": datetime.now(UTC)}
    query = sql.SQL("explain ") + statement("privacy/erase_rows")
    plan = "\n".join(line for (line,) in prepared.execute(query, values))
    assert "SubPlan" not in plan
    assert "Hash" in plan or "Merge" in plan


def test_a_tombstone_stays_while_a_body_of_before_is_there(prepared, keys):
    stage(prepared, [], rejects("no JSON"), keyring=keys(1), origin=ORIGIN)
    ask(EVA)
    erase()
    prepared.execute("update login_etl.erased_users set erased_at = erased_at - interval '31 days'")
    prepared.execute("update login_etl.rejected_messages set sent_at = sent_at - interval '32 days'")
    assert maintenance.privacy_upkeep()["tombstones"] == "0 ended"
    prepared.execute("update login_etl.rejected_messages set sealed_body = null")
    assert maintenance.privacy_upkeep()["tombstones"] == "1 ended"


def test_a_tombstone_never_goes_back(prepared, keys):
    with prepared.transaction():
        tombstones.raise_tombstones(prepared, [EVA], keys(1))
        [(raised,)] = prepared.execute(
            "update login_etl.erased_users set erased_at = erased_at + interval '1 hour' returning erased_at"
        ).fetchall()
    tombstones.raise_tombstones(prepared, [EVA], keys(1))
    assert tombstones.tombstones(prepared, [EVA], keys(1)) == {EVA: raised}


def test_a_body_that_is_valid_now_is_replayed_without_its_user(prepared, keys):
    """It was rejected, and its person erased while the search could not open it; the replay can."""
    [(message, _)] = logins(EVA)
    stage(prepared, [], [(message, REASON)], keyring=keys(1), origin=ORIGIN)
    ask(EVA)
    ids = erasure.plan_erasure()
    erasure.raise_tombstones(ids)
    replayed = pipeline.replay_messages(Selection(limit=10), origin=ORIGIN, dry_run=False)
    assert replayed["staged"] == 1
    merge(prepared)
    assert people(prepared) == {"nobody": (1, 0)}


def test_tombstones_are_of_the_key_in_use_and_end(prepared, keys, caplog):
    ask(EVA)
    stage(prepared, logins(ADAM), [], keyring=keys(1), origin=ORIGIN)
    erase()
    new = keys(2)
    rotate()
    assert prepared.execute("select user_mask from login_etl.erased_users").fetchall() == [
        (new.mask(EVA, field="user_id"),)
    ]
    stage(prepared, logins(EVA), [], keyring=new, origin=ORIGIN)
    assert people(prepared, "login_etl.staging_logins") == {ADAM: (1, 2), "nobody": (1, 0)}
    assert maintenance.privacy_upkeep()["tombstones"] == "0 ended"
    prepared.execute("update login_etl.erased_users set erased_at = erased_at - interval '30 days'")
    assert maintenance.privacy_upkeep()["tombstones"] == "1 ended"
    caplog.set_level("INFO")
    anchor = maintenance.privacy_upkeep()["anchor of the trail"]
    assert re.fullmatch(r"4:[0-9a-f]{64}", anchor)  # asked, erased, switched, under one key
    assert f"anchor of the trail: {anchor}" in caplog.text


def test_a_mask_of_a_user_is_of_what_it_is(keys):
    """No canonical form: ` Null ` is a user like any other; and no mask of an address or a device equals one."""
    masks = {keys(1).mask(text, field="user_id") for text in ("u", " u", "U", "Null", "192.0.2.1")}
    masks |= {keys(1).mask("192.0.2.1", field=field) for field in ("ip", "device_id")}
    assert len(masks) == 7


def test_rows_that_were_there_before_and_rows_under_another_name_are_found(local, keys, monkeypatch):
    """Of an adopted table: rows without a message; and a trigger of its owner changed a user id on its way."""
    monkeypatch.setenv("TEST_POSTGRES", local.postgres)
    as_dba(local.postgres)
    install_privacy(local.postgres)
    with local.connect() as owner:
        owner.execute(table() + "; alter table public.user_logins owner to pipeline")
        for user in (EVA, "somebody"):
            owner.execute(f"insert into public.user_logins values ('{user}', 'ios', 'm', 'm', 'RU', 1, now())")
    with login(local.postgres, "pipeline") as warehouse:
        prepare_warehouse(warehouse)
        stage(warehouse, logins(EVA, ADAM), [], keyring=keys(1), origin=ORIGIN)
        merge(warehouse)
        warehouse.execute(f"update public.user_logins set user_id = 'EVA' where user_id = '{EVA}' and batch_id > 0")
        of_eva = keys(1).mask(f"192.0.2.{len(EVA)}", field="ip")
        warehouse.execute("insert into public.user_logins (user_id, masked_ip) values ('somebody', %s)", [of_eva])
        maintenance.count_shared()
        assert shared(warehouse) == {"m": [2, 2], of_eva: [2, 2]}
        ask(EVA)
        assert erase() == {"erased": 1, "user_logins": 2, "staging": 1, "bodies": 0, "originals": 0}
        assert people(warehouse) == {ADAM: (1, 2), "nobody": (2, 0), "somebody": (2, 3)}
        assert shared(warehouse) == {}


def test_a_table_without_nulls_is_refused_before_anything_is_changed(prepared, keys):
    prepared.execute("alter table public.user_logins alter column user_id set not null")
    ask(EVA)
    for step in (erasure.plan_erasure, lambda: erasure.raise_tombstones([1])):
        with pytest.raises(
            SetupError, match="does not allow null where an erasure puts it: run: alter table"
        ) as caught:
            step()
    assert prepared.execute("select count(*) from login_etl.erased_users").fetchone() == (0,)
    prepared.execute(str(caught.value).split("run: ")[1].encode())
    assert erase()["erased"] == 1


KEEPS = (
    "create function stay() returns trigger language plpgsql as 'begin {}; end';"
    "create trigger stays before update on public.user_logins for each row execute function stay()"
)


@pytest.mark.parametrize(
    ("fault", "reason", "cure"),
    [
        (
            "alter table public.user_logins add constraint known check (user_id is not null) not valid",
            r"erasure 1: CheckViolation \(constraint known\)",
            "alter table public.user_logins drop constraint known",
        ),
        (
            KEEPS.format("return null"),
            r"erasure 1: a trigger or a rule keeps rows as they are",
            "drop trigger stays on public.user_logins",
        ),
        (
            KEEPS.format("new.masked_ip = old.masked_ip; return new"),
            r"erasure 1: a trigger or a rule keeps rows as they are",
            "drop trigger stays on public.user_logins",
        ),
        (
            KEEPS.format("new.user_id = old.user_id || '' archived''; return new"),
            r"erasure 1: a trigger or a rule keeps rows as they are",
            "drop trigger stays on public.user_logins",
        ),
    ],
    ids=["constraint", "discards", "puts a mask back", "puts the user under another name"],
)
def test_a_table_that_refuses_one_person_keeps_no_other(prepared, keys, fault, reason, cure):
    stage(prepared, logins(EVA, EVA), [], keyring=keys(1), origin=ORIGIN)
    merge(prepared)
    prepared.execute(fault.encode())
    ask(EVA, ADAM)
    with pytest.raises(FailedCheck, match=f"1 people are not erased: {reason}: fix it, and clear the task"):
        erase()
    assert people(prepared) == {EVA: (2, 4)}
    assert people(prepared, "login_etl.staging_logins") == {EVA: (2, 4)}
    assert prepared.execute("select erasure_id from privacy.erasures where done_at is null").fetchall() == [(1,)]
    prepared.execute(cure.encode())
    assert erase()["user_logins"] == 2
    assert people(prepared) == {"nobody": (2, 0)}


def test_without_schema_privacy_it_says_so(warehouse, keys, monkeypatch, local):
    prepare_warehouse(warehouse)
    with pytest.raises(SetupError, match="erasure needs schema privacy: it is not installed: let a DBA run"):
        erasure.plan_erasure()
    assert maintenance.privacy_upkeep()["anchor of the trail"].startswith("none, because of schema privacy: it is not")
    connection = {"conn_type": "postgres", "host": local.postgres, "login": "postgres", "schema": "warehouse"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    with local.connect() as owner:
        owner.execute("select 1")
        as_dba(local.postgres)
        install_privacy(local.postgres)
    with pytest.raises(SetupError, match="postgres is a superuser, who could rewrite the trail"):
        erasure.plan_erasure()


def test_a_user_id_that_is_spelled_otherwise_is_warned_of(prepared, keys, caplog):
    stage(prepared, logins(EVA), [], keyring=keys(1), origin=ORIGIN)
    ask(EVA.upper(), EVA)
    sentence = "erasure 1, case C-0: nothing is there: is the user id spelled as in user_logins?"
    erasure.plan_erasure()
    assert caplog.messages.count(sentence) == 1
    assert erase()["erased"] == 2
    assert caplog.messages.count(sentence) == 3
    assert not any("erasure 2" in message and "nothing is there" in message for message in caplog.messages)


def test_nobody_waits(prepared, caplog):
    caplog.set_level("INFO")
    assert erasure.plan_erasure() == []
    assert "nobody waits to be forgotten" in caplog.text


def test_rows_are_not_erased_without_a_tombstone(prepared, keys):
    stage(prepared, logins(EVA), [], keyring=keys(1), origin=ORIGIN)
    ask(EVA)
    for step in (lambda: erasure.forget_bodies([1]), lambda: erasure.erase_rows([1], {})):
        with pytest.raises(
            FailedCheck, match="erasure 1 has no tombstone since it was asked for: clear raise_tombstones"
        ):
            step()


def test_tombstones_do_not_keep_drains_waiting(prepared, local, keys):
    ask(EVA)
    with login(local.postgres, "pipeline") as slow, slow.transaction():
        pass_fence(slow)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            erasure.raise_tombstones([1])


def test_a_body_that_cannot_be_opened_stops_nothing(prepared, keys, caplog):
    stage(prepared, [], rejects(*NAMED.values()), keyring=keys(1), origin=ORIGIN)
    one = "(select message_id from login_etl.rejected_messages limit 1)"
    prepared.execute(f"update login_etl.rejected_messages set sealed_body = 'x' where message_id = {one}")
    ask(EVA)
    assert erase()["bodies"] == len(NAMED) - 1
    assert "1 rejected bodies cannot be opened" in caplog.text


def test_an_erasure_killed_anywhere_is_done_by_the_next(prepared, keys, proxies, subtests, local):
    environment = proxies.environment | {"AIRFLOW_CONN_PII_MASKING": os.environ["AIRFLOW_CONN_PII_MASKING"]}

    def back():
        prepared.execute("truncate login_etl.erased_users, login_etl.batches, login_etl.rejected_messages")
        prepared.execute("truncate login_etl.staging_logins, public.user_logins")
        stage(prepared, logins(EVA, ADAM, EVA), rejects(*NAMED.values()), keyring=keys(1), origin=ORIGIN)
        merge(prepared)
        stage(prepared, logins(EVA), [], keyring=keys(1), origin=ORIGIN)
        with login(local.postgres, "olga") as officer:
            ask_erasure(officer, case_number="C", user_id=EVA)

    back()
    proxies.let(undisturbed := Conversation())
    assert exit_code(environment, erase) == 0
    changes = [point for point in undisturbed.said if EVERY_POINT or CHANGES.match(point[0])]
    points = [(point, done) for point in changes for done in (False, True)]
    assert len(points) >= 10
    if not EVERY_POINT:
        points = points[:: len(points) // 8]
    for point, done in points:
        with subtests.test(point=point, done=done):
            back()
            proxies.let(Conversation(kill_at=point, done=done))
            assert exit_code(environment, erase) == -9
            proxies.undisturbed()
            stage(prepared, logins(ADAM), [], keyring=keys(1), origin=ORIGIN)
            merge(prepared)
            erase()
            merge(prepared)
            assert people(prepared) == {ADAM: (2, 4), "nobody": (3, 0)}
            assert people(prepared, "login_etl.staging_logins") == {ADAM: (2, 4), "nobody": (3, 0)}
            assert bodies(prepared) == 0
            assert prepared.execute("select count(*) from privacy.erasures where user_id is not null").fetchone() == (
                0,
            )
            assert adds_up(prepared)


def test_an_erasure_beside_all_else_leaves_nothing_and_takes_nothing_else(prepared, keys):
    """Drains with new messages and redeliveries, merges, rebuilds and replays, while people are erased."""
    users = [f"user-{number}" for number in range(20)]
    gone = set(users[:10])
    first = logins(*users * 5)
    keyring = keys(2)
    stage(prepared, first, rejects(*(f'{{"user": "{user}"}}' for user in users)), keyring=keyring, origin=ORIGIN)
    merge(prepared)
    ask(*sorted(gone))

    def drain(connection):
        sent = [*logins(*users), *first[:20]]
        bad = rejects(*(f'{{"user": "{user}"}}' for user in users[8:12]))
        stage(connection, sent, bad, keyring=keyring, origin=ORIGIN)

    def rebuild(connection):
        pipeline.merge_user_logins(Run("user_logins", f"rebuild {uuid4()}"), window=AGES)

    def replay(connection):
        pipeline.replay_messages(Selection(limit=10), origin=ORIGIN, dry_run=True)

    acts = [drain, drain, merge, rebuild, replay]
    with going_on(*acts) as numbers:
        assert erase()["erased"] == len(gone)
    merge(prepared)
    rebuild(prepared)
    drains = numbers[0] + numbers[1]
    for where in ("public.user_logins", "login_etl.staging_logins"):
        found = people(prepared, where)
        assert not gone & found.keys()
        assert all(masks == 2 * rows for user, (rows, masks) in found.items() if user != "nobody")
        assert found["nobody"][1] == 0
    rows = dict.fromkeys(users[10:], (5 + drains, 2 * (5 + drains)))
    assert people(prepared) == rows | {"nobody": (10 * (5 + drains), 0)}
    assert bodies(prepared) == 10 + 2 * drains
    assert adds_up(prepared)
    with login(os.environ["TEST_POSTGRES"], "uwe") as auditor:
        assert verify(auditor).seq == 2 * len(gone)

"""A new masking key: masks that were equal are equal afterwards, whatever goes on beside it, and whoever is killed."""

import json
import os
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from include import pipeline, rotation
from include.batches import rotation as steps
from include.batches.reconciliation import FailedCheck
from include.batches.rejected import Selection
from include.batches.staging import stage
from include.batches.window import Window
from include.events.login import RejectedMessage, parse
from include.events.message import Message, Origin, Run
from include.failures import SetupError
from include.privacy.check import warn_of_rotation
from include.privacy.fence import Masking, masking, pass_fence
from include.warehouse.default_partition import empty_default_partition
from include.warehouse.setup import prepare_warehouse
from tests.integration.test_adoption import table
from tests.support.beside import going_on
from tests.support.merging import merge
from tests.support.worker import Conversation, exit_code, rotate

NOW = datetime.now(UTC)
ORIGIN = Origin(Run("user_logins", "a run"), 0, 1, NOW)
AGES = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
EVERY_POINT = "SOAK_SECONDS" in os.environ
CHANGES = re.compile(r"Postgres (copy|insert|update)")
DEVICES, ADDRESSES = 7, 5


def land(warehouse, keyring, logins=100, rejects=5, days_ago=0, origin=ORIGIN):
    """One batch: user n has device n modulo DEVICES and address n modulo ADDRESSES, some have neither."""
    sent = NOW - timedelta(days=days_ago)
    valid = []
    for number in range(logins):
        body = {"user_id": f"user {number}", "ip": f"192.0.2.{number % ADDRESSES}", "device_id": f"d{number % DEVICES}"}
        if number % 10 == 9:
            body = {"user_id": f"user {number}"}
        message = Message(uuid4(), sent, 1, json.dumps(body))
        valid.append((message, parse(message)))
    bad = [(Message(uuid4(), sent, 1, f"body {number}"), RejectedMessage([("body", "x")])) for number in range(rejects)]
    stage(warehouse, valid, bad, keyring=keyring, origin=origin)


def groups(warehouse, where="public.user_logins"):
    """Who shares a device, and who an address: the sets of messages, without the masks."""
    found = defaultdict(set)
    for message_id, ip, device in warehouse.execute(f"select message_id, masked_ip, masked_device_id from {where}"):
        found[("ip", ip)].add(message_id)
        found[("device", device)].add(message_id)
    return {(kind, mask is None, frozenset(members)) for (kind, mask), members in found.items()}


def kids(warehouse):
    """The key ids of everything that has one."""
    masks = "select left(masked_ip, 8) from {} union select left(masked_device_id, 8) from {}"
    places = {table: masks.format(table, table) for table in ("public.user_logins", "login_etl.staging_logins")}
    places["shared masks"] = "select left(mask, 8) from login_etl.shared_masks"
    places["batches"] = "select kid from login_etl.batches"
    places["bodies"] = "select kid from login_etl.rejected_messages where sealed_body is not null"
    return {place: {kid for (kid,) in warehouse.execute(query) if kid is not None} for place, query in places.items()}


def wrong_masks(warehouse, keyring):
    """Masks that are not those of the values which were landed: a group that was split, or lost."""
    wrong = []
    for field, text, size in (("ip", "192.0.2.", ADDRESSES), ("device_id", "d", DEVICES)):
        right = {keyring.mask(f"{text}{number}", field=field) for number in range(size)}
        for where in ("public.user_logins", "login_etl.staging_logins"):
            found = warehouse.execute(f"select distinct masked_{field} from {where} where masked_{field} is not null")
            wrong += {mask for (mask,) in found} ^ right
    return wrong


def shared(warehouse):
    """How many users and logins each shared device and address has, without the masks."""
    devices, addresses = (
        warehouse.execute(f"select users, logins from login_etl.{view}").fetchall()
        for view in ("shared_devices", "shared_addresses")
    )
    return devices, addresses


def all_under(warehouse, keyring):
    assert set().union(*kids(warehouse).values()) == {keyring.kid}
    assert masking(warehouse) == Masking(keyring.kid, is_complete=True)


@pytest.fixture
def loaded(warehouse, keys):
    """Two batches that are merged, one with old logins in the default partition, and one that is not merged."""
    prepare_warehouse(warehouse)
    land(warehouse, keys(1))
    land(warehouse, keys(1), days_ago=200, rejects=0)
    merge(warehouse)
    land(warehouse, keys(1), logins=20)
    return warehouse


def test_masks_that_were_equal_are_equal_afterwards(loaded, keys, caplog):
    rotation.count_shared()
    before, staged, counted = groups(loaded), groups(loaded, "login_etl.staging_logins"), shared(loaded)
    warn_of_rotation(loaded, keys(1))
    assert "rotate_masking_key" not in caplog.text
    new = keys(2)
    warn_of_rotation(loaded, new)
    assert f"has a newer key, {new.kid}, than masks are made with" in caplog.text

    assert rotation.plan_rotation() is True
    assert f"a rotation to {new.kid} changes 180 rows" in caplog.text
    assert kids(loaded)["bodies"] == {keys(1).kid}  # a plan changes nothing
    keys(2)
    assert rotation.switch_masking_key() == {"before": new.kids[0], "in_use": new.kid}
    warn_of_rotation(loaded, new)
    assert f"there are masks of keys older than {new.kid}" in caplog.text
    assert rotation.rewrap_staging() == 220 - 22  # a tenth has no masks
    assert rotation.rewrap_user_logins() == 200 - 20
    assert rotation.reseal_rejected_bodies() == {"resealed": 10, "unreadable": 0}
    assert kids(loaded)["shared masks"] == {keys(1).kid}
    keys(2)
    assert rotation.count_shared() == {"devices": DEVICES, "addresses": ADDRESSES}

    all_under(loaded, new)
    assert (groups(loaded), groups(loaded, "login_etl.staging_logins"), shared(loaded)) == (before, staged, counted)
    assert rotation.plan_rotation() is False
    assert "nothing to do" in caplog.text
    caplog.clear()
    warn_of_rotation(loaded, new)
    assert caplog.text == ""


def test_a_new_login_of_an_old_device_meets_its_old_rows_and_bodies_can_be_opened(loaded, keys):
    new = keys(3)  # two keys at once
    rotate()
    all_under(loaded, new)
    land(loaded, new, logins=1, rejects=0)
    merge(loaded)
    [(rows,)] = loaded.execute(
        "select count(*) from public.user_logins where masked_device_id = %s", [new.mask("d0", field="device_id")]
    ).fetchall()
    assert rows == 2 * len([number for number in range(100) if number % DEVICES == 0 and number % 10 != 9]) + 4
    replayed = pipeline.replay_messages(Selection(limit=100), origin=ORIGIN, dry_run=True)
    assert (replayed["opened"], replayed["unreadable"]) == (10, 0)
    assert pipeline.merge_user_logins(Run("user_logins", "rebuild"), window=AGES)["rebuilt"] == 0
    all_under(loaded, new)


def test_nobody_goes_back(loaded, keys):
    keys(2)
    rotate()
    keys(1)
    for step in (rotation.plan_rotation, rotation.switch_masking_key, rotation.rewrap_user_logins):
        with pytest.raises(SetupError, match="put the missing key back"):
            step()


def test_other_masks_are_left_alone(warehouse, empty_warehouse, keys):
    """Of an adopted table: what another system has hashed, and what looks like a mask, but has no key of ours."""
    kid = keys(1).kid
    foreign = ["e" * 64, "00000000:" + "a" * 64, f"{kid}:{'A' * 64}", f"{kid}:no mask", "no mask", None]
    with empty_warehouse.connect() as owner:
        owner.execute(table() + "; alter table public.user_logins owner to pipeline")
    for mask in foreign:
        warehouse.execute("insert into public.user_logins values ('u', 'ios', %s, %s, 'RU', 1, now())", [mask, mask])
    prepare_warehouse(warehouse)
    land(warehouse, keys(1), logins=30)
    merge(warehouse)
    new = keys(2)
    rotate()
    assert kids(warehouse)["login_etl.staging_logins"] == {new.kid}
    stayed = warehouse.execute("select masked_ip from public.user_logins where message_id is null").fetchall()
    assert sorted(str(mask) for (mask,) in stayed) == sorted(map(str, foreign))
    assert masking(warehouse).is_complete


def test_rows_that_the_table_refuses_stay_and_are_named_and_the_others_are_done(loaded, keys):
    new = keys(2)
    loaded.execute(
        "alter table public.user_logins add constraint stays "
        f"check (user_id <> 'user 3' or masked_ip like '{new.kids[0]}%') not valid"
    )
    rotation.switch_masking_key()
    rotation.rewrap_staging()
    month = (NOW - timedelta(days=200)).date()
    sentence = rf"2 rows of public.user_logins, of {month} to {NOW.date()}, keep masks .*stays\): 2\): fix it"
    with pytest.raises(FailedCheck, match=sentence):
        rotation.rewrap_user_logins()
    with pytest.raises(FailedCheck, match="there are masks of an older key"):
        rotation.reseal_rejected_bodies()
    assert masking(loaded).is_complete is False
    loaded.execute("alter table public.user_logins drop constraint stays")
    assert rotation.rewrap_user_logins() == 2
    rotation.reseal_rejected_bodies()
    all_under(loaded, new)


def test_a_trigger_that_discards_the_update_is_named(loaded, keys):
    loaded.execute(
        "create function stay() returns trigger language plpgsql as 'begin return null; end';"
        "create trigger stays before update on public.user_logins for each row execute function stay()"
    )
    keys(2)
    rotation.switch_masking_key()
    with pytest.raises(FailedCheck, match=r"180 rows of public.user_logins, .*\(a trigger keeps the old ones"):
        rotation.rewrap_user_logins()


def test_a_body_that_cannot_be_opened_stays_and_stops_nothing(loaded, keys):
    loaded.execute(
        "update login_etl.rejected_messages set sealed_body = '\\x00' "
        "where message_id = (select message_id from login_etl.rejected_messages limit 1)"
    )
    keys(2)
    rotation.switch_masking_key()
    rotation.rewrap_staging()
    rotation.rewrap_user_logins()
    assert rotation.reseal_rejected_bodies() == {"resealed": 9, "unreadable": 1}
    assert masking(loaded).is_complete


def test_batches_without_rows_in_staging_are_recorded_last(loaded, keys):
    loaded.execute("delete from login_etl.staging_logins where batch_id = 1")
    new = keys(2)
    rotation.switch_masking_key()
    rotation.rewrap_staging()
    assert kids(loaded)["batches"] == set(new.kids)
    rotation.rewrap_user_logins()
    rotation.reseal_rejected_bodies()
    all_under(loaded, new)


def test_a_rotation_killed_anywhere_goes_on_where_it_ended(loaded, keys, proxies, subtests, monkeypatch):
    environment = proxies.environment | {"AIRFLOW_CONN_PII_MASKING": os.environ["AIRFLOW_CONN_PII_MASKING"]}

    def back():
        """As before, so that each point is met in the same state."""
        loaded.execute("truncate login_etl.masking, login_etl.batches, login_etl.rejected_messages")
        loaded.execute("truncate login_etl.staging_logins, public.user_logins")
        land(loaded, keys(1))
        merge(loaded)
        land(loaded, keys(1), logins=20)
        keys(2)
        environment["AIRFLOW_CONN_PII_MASKING"] = os.environ["AIRFLOW_CONN_PII_MASKING"]
        return groups(loaded)

    back()
    proxies.let(undisturbed := Conversation())
    assert exit_code(environment, rotate) == 0
    changes = [point for point in undisturbed.said if EVERY_POINT or CHANGES.match(point[0])]
    points = [(point, done) for point in changes for done in (False, True)]
    assert len(points) >= 50
    if not EVERY_POINT:
        points = points[:: len(points) // 16]
    for point, done in points:
        with subtests.test(point=point, done=done):
            back()
            proxies.let(Conversation(kill_at=point, done=done))
            assert exit_code(environment, rotate) == -9
            proxies.undisturbed()
            land(loaded, keys(2), logins=10)  # a drain, a merge and a rebuild in between
            merge(loaded)
            pipeline.merge_user_logins(Run("user_logins", f"rebuild {uuid4()}"), window=AGES)
            rotate()
            all_under(loaded, keys(2))
            assert wrong_masks(loaded, keys(2)) == []


def test_a_rotation_beside_all_else_leaves_no_older_mask_and_splits_no_group(loaded, keys, monkeypatch):
    """Drains under the old and under the new connection, merges, rebuilds, the default partition being emptied."""
    monkeypatch.setattr(steps, "CHUNK_PAGES", 1)
    for _ in range(5):
        land(loaded, keys(1), logins=500, rejects=0)
        land(loaded, keys(1), logins=300, rejects=0, days_ago=200)
    merge(loaded)
    old, new = keys(1), keys(2)
    refused = []

    def drain_under(keyring):
        def act(connection):
            try:
                land(connection, keyring, logins=50, rejects=2)
            except SetupError as error:
                refused.append(str(error))

        return act

    def rebuild(connection):
        pipeline.merge_user_logins(Run("user_logins", f"rebuild {uuid4()}"), window=AGES)

    acts = [drain_under(old), drain_under(new), merge, rebuild, lambda each: empty_default_partition(each, months=3)]
    with going_on(*acts):
        rotate()
    merge(loaded)
    assert all("whose key this worker's connection lacks" in sentence for sentence in refused)
    all_under(loaded, new)
    assert wrong_masks(loaded, new) == []
    [(unbalanced,)] = loaded.execute(
        "select count(*) from login_etl.history where unbalanced_batches is not null"
    ).fetchall()
    assert unbalanced == 0


def test_a_trigger_that_puts_old_masks_back_is_named(loaded, keys):
    """It lets each update count, so that the number of rows that are left is what tells."""
    loaded.execute(
        "create function back() returns trigger language plpgsql as "
        "'begin new.masked_ip = old.masked_ip; return new; end';"
        "create trigger back before update on public.user_logins for each row execute function back()"
    )
    keys(2)
    rotation.switch_masking_key()
    with pytest.raises(FailedCheck, match=r"180 rows of public.user_logins, .*\(a trigger keeps the old ones"):
        rotation.rewrap_user_logins()


@pytest.mark.parametrize(
    "act", ["drop table public.user_logins_{month}", "alter table public.user_logins detach partition {last}"]
)
def test_a_month_that_is_dropped_meanwhile_is_none_of_it(loaded, keys, monkeypatch, act):
    listed = steps.leaf_tables

    def dropped_after_it_is_listed(connection):
        tables = listed(connection)
        names = [name for _, name, _ in tables if re.search(r"\d$", name)]
        if len(tables) == there:
            partition = act.format(month=f"{NOW:%Y_%m}", last=f"public.{names[-1]}")
            connection.execute(partition.encode())
        return tables

    new = keys(2)
    there = len(listed(loaded))
    rotation.switch_masking_key()
    rotation.rewrap_staging()
    monkeypatch.setattr(steps, "leaf_tables", dropped_after_it_is_listed)
    rotation.rewrap_user_logins()
    rotation.reseal_rejected_bodies()
    assert kids(loaded)["public.user_logins"] == {new.kid}


def test_old_rows_that_move_meanwhile_are_found(loaded, keys, monkeypatch):
    """The maintenance gives the rows of the default partition a month, behind the back of a pass."""
    listed = steps.leaf_tables
    moved = []

    def moved_after_it_is_listed(connection):
        tables = listed(connection)
        if not moved:
            moved.append(empty_default_partition(connection, months=3))
        return tables

    new = keys(2)
    rotation.switch_masking_key()
    rotation.rewrap_staging()
    monkeypatch.setattr(steps, "leaf_tables", moved_after_it_is_listed)
    assert rotation.rewrap_user_logins() == 180
    assert "rows moved" in str(moved)
    rotation.reseal_rejected_bodies()
    all_under(loaded, new)


def test_rights_that_a_rotation_lacks_are_named_before_anything_is_changed(loaded, local, keys):
    with local.connect() as owner:
        owner.execute("revoke temporary on database warehouse from public, pipeline")
        owner.execute("alter table public.user_logins_default owner to postgres")
    keys(2)
    for step in (rotation.plan_rotation, rotation.switch_masking_key):
        with pytest.raises(SetupError, match="run, as their owner: ") as caught:
            step()
    assert masking(loaded).kid == keys(1).kid
    with local.connect() as owner:
        owner.execute(str(caught.value).split("run, as their owner: ")[1].encode())
    keys(2)
    assert rotation.plan_rotation() is True
    rotate()
    all_under(loaded, keys(2))


def test_a_step_without_the_switch_switches_nothing(loaded, keys):
    loaded.execute("truncate login_etl.masking")  # as after the migration that brought it
    old = keys(1)
    keys(2)
    assert rotation.rewrap_staging() == 0
    assert masking(loaded) == Masking(old.kid, is_complete=True)


def test_a_switch_does_not_keep_drains_waiting(loaded, local, keys):
    with local.connect(user="pipeline") as slow, slow.transaction():
        pass_fence(slow)
        keys(2)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            rotation.switch_masking_key()

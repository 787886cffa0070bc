"""The checks of `check_user_logins`: what each finds, what is kept, and that no value is among it."""

from uuid import uuid4

import pytest

from include import checks
from include.events.message import ENOUGH_MESSAGES
from include.warehouse.setup import prepare_warehouse

KID, OLDER = "0123abcd", "89abcdef"
MASK = f"{KID}:{'5' * 64}"
TODAY = "(now() at time zone 'UTC')::date"
LOGIN = {
    "user_id": "'ann'",
    "masked_ip": f"'{MASK}'",
    "masked_device_id": f"'{MASK}'",
    "create_date": TODAY,
    "message_id": "gen_random_uuid()",
    "batch_id": "1",
}
BATCH = {
    "run_id": "'a run'",
    "map_index": "0",
    "try_number": "1",
    "kid": f"'{KID}'",
    "started_at": "now()",
    "oldest_sent_at": "now()",
    "newest_sent_at": "now()",
    "staged_at": "now()",
    "merged_at": "now()",
    "received": "30",
    "staged": "20",
    "rejected": "10",
    "inserted": "15",
    "already_there": "4",
    "refused": "1",
    "deleted": "30",
    "expired": "0",
    "delete_failed": "0",
    "unknown_versions": "4",
}
PASSED = {
    "keys_are_whole": (True, 0, 3),
    "masks_are_masks": (True, 0, 3),
    "masks_have_the_key": (True, 0, 3),
    "erased_are_erased": (True, 0, 3),
    "sums_hold": (True, 0, 2),
    "versions_are_known": (True, 4, 25),
}


def insert(warehouse, table, values):
    warehouse.execute(f"insert into {table} ({', '.join(values)}) values ({', '.join(values.values())})")


@pytest.fixture
def loaded(warehouse, connected):
    """Logins and batches with nothing wrong: of today, of yesterday, of an erased person; not merged, unknown."""
    prepare_warehouse(warehouse)
    warehouse.execute("insert into login_etl.masking (kid, is_complete) values (%s, true)", [KID])
    erased = dict.fromkeys(("user_id", "masked_ip", "masked_device_id"), "null")
    for changes in ({}, {"create_date": f"{TODAY} - 1", "masked_ip": "null"}, erased):
        insert(warehouse, "public.user_logins", LOGIN | changes)
    waiting = dict.fromkeys(("inserted", "already_there", "merged_at", "deleted", "unknown_versions"), "null")
    for changes in ({}, {"received": "5", "staged": "5", "rejected": "0", "refused": "0", **waiting}):
        insert(warehouse, "login_etl.batches", BATCH | changes)
    return warehouse


def results(warehouse):
    rows = warehouse.execute("select name, passed, found, checked from login_etl.data_checks")
    return {name: tuple(result) for name, *result in rows}


def test_what_is_as_it_should_be_passes(loaded):
    assert checks.count_faults(max_unknown_percent=20) == {}
    assert results(loaded) == PASSED


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("keys_are_whole", {"batch_id": "null", "create_date": "null"}),
        ("keys_are_whole", {"batch_id": "null"}),
        ("masks_are_masks", {"masked_ip": "'203.0.113.77'", "masked_device_id": "null"}),
        ("masks_are_masks", {"masked_device_id": "'987-65-4321'"}),
        ("masks_are_masks", {"masked_ip": f"'{KID}:{'5' * 63}'"}),
        ("masks_are_masks", {"masked_ip": f"'{KID}:{'5' * 65}'"}),
        ("masks_are_masks", {"masked_ip": f"'{KID}:{'5' * 63}F'"}),
        ("masks_are_masks", {"masked_ip": f"'{KID}:{'5' * 63}' || chr(10)"}),
        ("masks_are_masks", {"masked_ip": f"'{KID}5:{'5' * 63}'"}),
        ("masks_are_masks", {"masked_ip": f"'{KID}:{'5' * 63}:'"}),
        ("masks_have_the_key", {"masked_ip": f"'{OLDER}:{'5' * 64}'", "masked_device_id": "null"}),
        ("masks_have_the_key", {"masked_device_id": f"'{OLDER}:{'5' * 64}'"}),
        ("erased_are_erased", {"user_id": "null", "masked_ip": "null"}),
    ],
)
def test_a_login_that_is_not_as_it_should_be_is_counted(loaded, name, changes):
    loaded.execute("alter table public.user_logins drop constraint user_logins_pkey")  # as an adopted table may be
    for column in ("create_date", "batch_id"):
        loaded.execute(f"alter table public.user_logins alter column {column} drop not null")
    insert(loaded, "public.user_logins", LOGIN | changes)
    assert checks.count_faults(max_unknown_percent=20).get(name) == 1
    assert results(loaded)[name] == (False, 1, 4)
    loaded.execute("delete from public.user_logins where ctid in (select max(ctid) from public.user_logins)")


@pytest.mark.parametrize(
    "changes",
    [{"rejected": "9", "received": "29"}, {"inserted": "14"}, {"refused": "0"}, {"deleted": "29"}],
    ids=str,
)
def test_a_batch_that_does_not_add_up_is_counted(loaded, changes):
    insert(loaded, "login_etl.batches", BATCH | changes)
    assert checks.count_faults(max_unknown_percent=20) == {"sums_hold": 1}
    assert results(loaded)["sums_hold"] == (False, 1, 3)


def test_what_is_older_or_was_there_before_is_left_out(loaded):
    """And of the rows of before, which have no message id."""
    wrong = LOGIN | {"masked_ip": "'203.0.113.77'"}
    insert(loaded, "public.user_logins", wrong | {"create_date": f"{TODAY} - 2"})
    loaded.execute("alter table public.user_logins drop constraint user_logins_pkey")
    loaded.execute("alter table public.user_logins alter column message_id drop not null")
    insert(loaded, "public.user_logins", wrong | {"message_id": "null"})
    loaded.execute("truncate login_etl.batches restart identity")
    insert(loaded, "login_etl.batches", BATCH | {"inserted": "0", "staged_at": "now() - interval '50 hours'"})
    insert(loaded, "login_etl.batches", BATCH)
    assert checks.count_faults(max_unknown_percent=20) == {}
    assert results(loaded) == PASSED | {"sums_hold": (True, 0, 1), "versions_are_known": (True, 4, 20)}


def test_masks_of_two_keys_are_no_fault_while_a_rotation_is_under_way(loaded):
    loaded.execute("update login_etl.masking set kid = %s, is_complete = false", [OLDER])
    assert checks.count_faults(max_unknown_percent=20) == {}
    loaded.execute("update login_etl.masking set is_complete = true")
    assert checks.count_faults(max_unknown_percent=20) == {"masks_have_the_key": 2}


def test_a_share_of_unknown_versions_has_a_bound_and_needs_some_logins(loaded):
    assert checks.count_faults(max_unknown_percent=15) == {"versions_are_known": 4}
    assert checks.count_faults(max_unknown_percent=16) == {}
    loaded.execute(
        "update login_etl.batches set staged = 1, rejected = received - 1, inserted = 1, already_there = 0, refused = 0"
    )
    assert ENOUGH_MESSAGES > 2
    assert checks.count_faults(max_unknown_percent=0) == {}


def test_a_later_result_takes_the_place_of_an_earlier_one(loaded):
    user = str(uuid4())
    insert(loaded, "public.user_logins", LOGIN | {"user_id": f"'{user}'", "masked_ip": "'203.0.113.77'"})
    assert checks.count_faults(max_unknown_percent=20).keys() == {"masks_are_masks", "masks_have_the_key"}
    loaded.execute("delete from public.user_logins where user_id = %s", [user])
    assert checks.count_faults(max_unknown_percent=20) == {}
    assert results(loaded) == PASSED


def test_nothing_of_a_row_is_logged_or_kept(loaded, caplog):
    insert(loaded, "public.user_logins", LOGIN | {"user_id": "'canary'", "masked_ip": "'203.0.113.77'"})
    with caplog.at_level("DEBUG"):
        checks.count_faults(max_unknown_percent=20)
    assert "masks_are_masks     failed        1     4  logins with another text where a mask is due" in caplog.text
    kept = str(loaded.execute("select * from login_etl.data_checks").fetchall())
    assert not [text for text in ("canary", "203.0.113.77", KID) if text in caplog.text + kept]


def test_before_the_first_login_all_passes(warehouse, connected):
    assert checks.count_faults(max_unknown_percent=20) == {}
    assert set(results(warehouse).values()) == {(True, 0, 0)}

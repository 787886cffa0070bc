from dataclasses import replace

import pytest

from include.batches.reconciliation import BatchCounts, imbalances, run_table, summary, too_many_rejected

COUNTS = {
    "received": 100, "staged": 99, "rejected": 1, "inserted": 88, "already_there": 9, "refused": 2, "deleted": 97,
    "expired": 2, "delete_failed": 1, "unknown_addresses": 4, "unknown_versions": 3,
}  # fmt: skip
ONE = BatchCounts(batch_id=7, map_index=0, try_number=1, counts=COUNTS)
ANOTHER = replace(ONE, batch_id=8, map_index=1)
REPORTED = {"received": 200, "staged": 198, "rejected": 2}


def test_counts_that_hold():
    assert imbalances([ONE, ANOTHER], REPORTED) == []


def test_batches_of_tries_that_failed_are_recorded_but_not_reported():
    assert imbalances([ONE, ANOTHER], {"received": 40, "staged": 39, "rejected": 1}) == []


def test_what_a_crash_left_unrecorded_is_no_fault():
    assert (
        imbalances([replace(ONE, counts=COUNTS | {"deleted": None, "expired": None, "delete_failed": None})], {}) == []
    )


def test_a_batch_that_another_try_has_just_landed_is_no_fault():
    assert (
        imbalances([ONE, replace(ANOTHER, counts=COUNTS | {"inserted": None, "already_there": None})], REPORTED) == []
    )


@pytest.mark.parametrize(
    ("change", "numbers"),
    [
        ({"rejected": 0}, "batch 7: received 100 ≠ staged 99 + rejected 0"),
        ({"inserted": 89}, "batch 7: staged 99 ≠ inserted 89 + already there 9 + refused 2"),
        ({"deleted": 96}, "batch 7: received 100 ≠ deleted 96 + expired 2 + delete failed 1"),
        (
            {"received": 90, "staged": 89, "deleted": 87, "inserted": 78},
            "received 200 reported by the tasks ≠ 190 recorded in batches",
        ),
    ],
)
def test_counts_that_do_not_hold_are_an_error_with_the_numbers(change, numbers):
    assert imbalances([replace(ONE, counts=COUNTS | change), ANOTHER], REPORTED)[0] == numbers


def test_faults_of_two_batches_do_not_cancel_each_other_out():
    more, less = (replace(batch, counts=COUNTS | {"inserted": 88 + by}) for batch, by in ((ONE, 1), (ANOTHER, -1)))
    assert len(imbalances([more, less], REPORTED)) == 2


def test_rows_that_vanished_before_their_merge_are_an_error():
    waiting = replace(ONE, counts=COUNTS | {"inserted": None, "already_there": None, "refused": 0}, lost=3)
    assert imbalances([waiting], {}) == ["batch 7: 3 of its 99 staged rows are gone from staging"]


@pytest.mark.parametrize(
    ("rejected", "percent", "wrong"), [(1, 1, False), (2, 1, True), (1, 0, True), (0, 0, False), (100, 100, False)]
)
def test_more_rejected_messages_than_a_run_may_have(rejected, percent, wrong):
    batch = replace(ONE, counts=COUNTS | {"staged": 100 - rejected, "rejected": rejected})
    said = f"{rejected} of 100 messages were rejected, more than max_rejected_percent, {percent}"
    see = ": see login_etl.rejected_messages"
    assert too_many_rejected([batch], percent) == ([said + see] if wrong else [])
    most = ", most of them for ip: string_type"
    assert too_many_rejected([batch], percent, [("ip: string_type", 1)]) == ([said + most + see] if wrong else [])
    assert too_many_rejected([], percent) == []
    few = replace(ONE, counts=COUNTS | {"received": 19, "staged": 0, "rejected": 19})
    assert too_many_rejected([few], percent) == []


def test_a_run_is_one_line():
    reasons = [("user_id: missing", 2), ("body: json_invalid", 1)]
    sums = "received 200, inserted 176, already there 18, refused 4, rejected 2"
    two = [ONE, replace(ONE, batch_id=8)]
    assert summary(two, [], None) == sums
    assert summary(two, reasons, 1_234) == (
        f"{sums} (user_id: missing 2, body: json_invalid 1); about 1,234 left on the queue"
    )


def test_the_table_has_a_line_for_each_try_and_the_sums():
    second = replace(ONE, batch_id=9, map_index=1, try_number=2, counts=COUNTS | {"deleted": None})
    head, second_head, _, *lines = [
        line.split() for line in run_table([ONE, replace(ONE, batch_id=8), second]).splitlines()
    ]
    assert head == [
        *("batches", "received", "staged", "rejected", "inserted", "already", "refused", "deleted", "expired"),
        *("delete", "unknown", "unknown"),
    ]
    assert second_head == ["there", "failed", "addresses", "versions"]
    assert lines == [
        ["drain", "0,", "try", "1", "2", "200", "198", "2", "176", "18", "4", "194", "4", "2", "8", "6"],
        ["drain", "1,", "try", "2", "1", "100", "99", "1", "88", "9", "2", "0", "2", "1", "4", "3"],
        ["this", "run", "3", "300", "297", "3", "264", "27", "6", "194", "6", "3", "12", "9"],
    ]
    assert run_table([]).split()[-13:] == ["run", *["0"] * 12]

from dataclasses import replace

import pytest

from include.batches.merge import Merged
from include.batches.reconciliation import BatchCounts, Unbalanced, reconcile, run_table

COUNTS = {
    "received": 100, "staged": 99, "rejected": 1, "inserted": 90, "already_there": 9, "deleted": 97, "expired": 2,
    "delete_failed": 1,
}  # fmt: skip
ONE = BatchCounts(batch_id=7, map_index=0, try_number=1, counts=COUNTS)
ANOTHER = replace(ONE, batch_id=8, map_index=1)
REPORTED = {"received": 200, "staged": 198, "rejected": 2}
MERGED = Merged(batches=3, staged=208, inserted=185, already_there=23)  # one batch is an earlier run's


def test_counts_that_hold():
    reconcile([ONE, ANOTHER], MERGED, REPORTED)


def test_batches_of_tries_that_failed_are_recorded_but_not_reported():
    reconcile([ONE, ANOTHER], MERGED, {"received": 40, "staged": 39, "rejected": 1})


def test_what_a_crash_left_unrecorded_is_no_fault():
    reconcile([replace(ONE, counts=COUNTS | {"deleted": None, "expired": None, "delete_failed": None})], MERGED, {})


def test_a_batch_that_another_try_has_just_landed_is_no_fault():
    reconcile([ONE, replace(ANOTHER, counts=COUNTS | {"inserted": None, "already_there": None})], MERGED, REPORTED)


@pytest.mark.parametrize(
    ("change", "numbers"),
    [
        ({"rejected": 0}, "batch 7: received 100 ≠ staged 99 \\+ rejected 0"),
        ({"inserted": 89}, "batch 7: staged 99 ≠ inserted 89 \\+ already there 9"),
        ({"deleted": 96}, "batch 7: received 100 ≠ deleted 96 \\+ expired 2 \\+ delete failed 1"),
        (
            {"received": 90, "staged": 89, "deleted": 87, "inserted": 80},
            "received 200 reported by the tasks ≠ 190 recorded in batches",
        ),
    ],
)
def test_counts_that_do_not_hold_are_an_error_with_the_numbers(change, numbers):
    with pytest.raises(Unbalanced, match=numbers):
        reconcile([replace(ONE, counts=COUNTS | change), ANOTHER], MERGED, REPORTED)


def test_faults_of_two_batches_do_not_cancel_each_other_out():
    with pytest.raises(Unbalanced, match=r"batch 7: .* 91 .*; batch 8: .* 89 "):
        reconcile(
            [replace(ONE, counts=COUNTS | {"inserted": 91}), replace(ANOTHER, counts=COUNTS | {"inserted": 89})],
            MERGED,
            REPORTED,
        )


def test_a_merged_batch_of_another_run_that_does_not_add_up_is_an_error_too():
    with pytest.raises(Unbalanced, match="merged 208 ≠ inserted 184"):
        reconcile([ONE, ANOTHER], replace(MERGED, inserted=184), REPORTED)


def test_the_table_has_a_line_for_each_try_and_the_sums():
    second = replace(ONE, batch_id=9, map_index=1, try_number=2, counts=COUNTS | {"deleted": None})
    head, second_head, _, *lines = [
        line.split() for line in run_table([ONE, replace(ONE, batch_id=8), second]).splitlines()
    ]
    assert head == ["batches", "received", "staged", "rejected", "inserted", "already", "deleted", "expired", "delete"]
    assert second_head == ["there", "failed"]
    assert lines == [
        ["drain", "0,", "try", "1", "2", "200", "198", "2", "180", "18", "194", "4", "2"],
        ["drain", "1,", "try", "2", "1", "100", "99", "1", "90", "9", "0", "2", "1"],
        ["this", "run", "3", "300", "297", "3", "270", "27", "194", "6", "3"],
    ]
    assert run_table([]).split()[-10:] == ["run", *["0"] * 9]

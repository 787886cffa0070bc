from dataclasses import replace

import pytest

from include.merge import Merged
from include.reconciliation import Sums, Unbalanced, reconcile

GOOD = Sums(
    batches=2, merged_batches=2, received=100, staged=99, rejected=1, inserted=90, already_there=9,
    deleted=97, expired=2, delete_failed=1, deletes_unknown=0, unbalanced_batches=None,
)  # fmt: skip
REPORTED = {"received": 100, "staged": 99, "rejected": 1}
MERGED = Merged(batches=3, staged=109, inserted=95, already_there=14)  # one batch is an earlier run's


def test_sums_that_hold():
    reconcile(GOOD, MERGED, REPORTED)


def test_batches_of_tries_that_failed_are_recorded_but_not_reported():
    reconcile(GOOD, MERGED, {"received": 40, "staged": 39, "rejected": 1})


def test_deletes_that_a_crash_left_unrecorded_are_no_fault():
    reconcile(replace(GOOD, deleted=0, expired=0, delete_failed=0, deletes_unknown=100), MERGED, REPORTED)


@pytest.mark.parametrize(
    ("change", "numbers"),
    [
        ({"rejected": 0}, "received 100 ≠ staged 99 \\+ rejected 0"),
        ({"merged_batches": 1}, "batches 2 ≠ merged batches 1"),
        ({"inserted": 89}, "staged 99 ≠ inserted 89 \\+ already there 9"),
        ({"deleted": 96}, "received 100 ≠ deleted 96 \\+ expired 2 \\+ delete failed 1 \\+ deletes unknown 0"),
        ({"unbalanced_batches": [3, 7]}, "batches that do not add up: \\[3, 7\\]"),
        (
            {"received": 90, "staged": 89, "deleted": 87, "inserted": 80},
            "received 100 reported by the drain tasks ≠ 90 recorded",
        ),
    ],
)
def test_sums_that_do_not_hold_are_an_error_with_the_numbers(change, numbers):
    with pytest.raises(Unbalanced, match=numbers):
        reconcile(replace(GOOD, **change), MERGED, REPORTED)


def test_a_merged_batch_of_another_run_that_does_not_add_up_is_an_error_too():
    with pytest.raises(Unbalanced, match="merged 109 ≠ inserted 94"):
        reconcile(GOOD, replace(MERGED, inserted=94), REPORTED)

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest

from include.batches.window import Window, rebuild_window
from include.failures import SetupError

START, STOP = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 12, 5, tzinfo=UTC)
NO_RANGE = {"rebuild_from": None, "rebuild_to": None}


def run(run_type):
    return SimpleNamespace(run_type=run_type, data_interval_start=START, data_interval_end=STOP)


@pytest.mark.parametrize("run_type", ["scheduled", "manual"])
def test_a_run_drains_unless_told_otherwise(run_type):
    assert rebuild_window(run(run_type), NO_RANGE) is None


def test_a_backfill_run_rebuilds_its_interval():
    assert rebuild_window(run("backfill"), NO_RANGE) == Window(START, STOP)


def test_a_backfill_run_without_an_interval_drains_nothing():
    run = SimpleNamespace(run_type="backfill", data_interval_start=None, data_interval_end=None)
    with pytest.raises(SetupError, match="no data interval"):
        rebuild_window(run, NO_RANGE)


def test_params_name_any_range():
    params = {"rebuild_from": "2026-01-01T00:00:00Z", "rebuild_to": "2026-01-02T00:00:00+01:00"}
    window = rebuild_window(run("manual"), params)
    assert window.stop - window.start == timedelta(hours=23)


@pytest.mark.parametrize(
    ("start", "stop", "fault"),
    [
        ("2026-01-01T00:00:00Z", None, "give both"),
        (None, "2026-01-01T00:00:00Z", "give both"),
        ("2026-01-01T00:00:00", "2026-01-02T00:00:00Z", "rebuild_from: has no time zone"),
        ("2026-01-01T00:00:00Z", "tomorrow", "rebuild_to: not a date-time"),
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "the first must be the earlier"),
        ("2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", "the first must be the earlier"),
    ],
)
def test_a_range_that_is_none_is_refused(start, stop, fault):
    with pytest.raises(SetupError, match=fault):
        rebuild_window(run("manual"), {"rebuild_from": start, "rebuild_to": stop})


def test_slices_cover_the_window_without_overlap():
    window = Window(START, START + timedelta(days=2, hours=1))
    slices = list(window.slices(datetime.min.replace(tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)))
    assert len(slices) == 3
    assert slices[0].start == window.start
    assert slices[-1].stop == window.stop
    assert all(left.stop == right.start for left, right in pairwise(slices))


def test_slices_are_of_what_there_is():
    window = Window(START - timedelta(days=9999), START + timedelta(days=9999))
    assert list(window.slices(START, STOP)) == [Window(START, STOP + timedelta.resolution)]
    assert list(window.slices(START, START)) == [Window(START, START + timedelta.resolution)]
    assert list(window.slices(None, None)) == []
    assert list(Window(START, STOP).slices(STOP, STOP + timedelta(days=1))) == []

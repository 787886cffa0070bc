from datetime import UTC, datetime, timedelta
from itertools import pairwise

from include.batches.window import Window

START, STOP = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 12, 5, tzinfo=UTC)


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

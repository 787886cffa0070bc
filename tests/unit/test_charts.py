"""Charts: pure arithmetic, also at its ends."""

import doctest
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.page import charts, links, wording
from include.page.charts import HEIGHT, TOP, WIDTH, Series, bars, count_scale, lines, time_scale
from include.page.ranges import RANGES, range_of

NOW = datetime(2026, 1, 31, 10, 7, 30, tzinfo=UTC)
VALUES = st.dictionaries(st.integers(0, 95), st.integers(0, 10**12), max_size=20)


@pytest.mark.parametrize("module", [charts, links, wording], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_hold(module):
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)


@pytest.mark.parametrize("name", RANGES)
def test_a_range_ends_with_the_bucket_of_now(name):
    span = range_of(name, NOW)
    assert span.start < NOW < span.stop <= NOW + timedelta(seconds=span.seconds)
    assert span.stop - span.start == timedelta(seconds=span.count * span.seconds)
    assert span.at(span.count) == span.stop


@pytest.mark.parametrize(
    ("age", "name"),
    [(None, "1h"), (timedelta(minutes=5), "1h"), (timedelta(hours=3), "6h"), (timedelta(hours=20), "24h"),
     (timedelta(days=400), "24h")],
)  # fmt: skip
def test_without_a_range_there_is_the_shortest_that_shows_all_or_a_day(age, name):
    assert range_of("", NOW, age and NOW - age).name == name


@given(st.floats(0, 1e9))
def test_a_scale_reaches_its_largest_value_in_a_few_even_steps(most):
    for scale in (count_scale(most), time_scale(most)):
        assert scale[0] == 0
        assert scale[-1] >= most
        assert 2 <= len(scale) <= 6
        assert len({later - earlier for earlier, later in pairwise(scale)}) == 1


@given(VALUES, VALUES)
def test_all_is_drawn_within_the_picture(some, others):
    span = range_of("24h", NOW)
    series = [Series("some", "a", some), Series("others", "b", others)]
    for chart in (
        bars("title", span, series, empty="nothing"),
        lines("title", span, series, empty="nothing", scale=count_scale, says=str),
    ):
        if chart.is_empty:
            assert chart.summary == "nothing"
            continue
        assert all(0 <= column.x <= WIDTH - column.width for column in chart.columns)
        assert all(TOP <= y <= HEIGHT for y, _ in chart.y_ticks)
        for _, path in (*chart.areas, *chart.lines):
            starts = [part.split("h")[0].split("L")[0].split() for part in path.split("M")[1:]]
            assert all(0 <= float(x) <= WIDTH and TOP - 0.1 <= float(y) <= HEIGHT for x, y in starts)
        assert len(chart.legend) == 2


def test_what_is_said_of_a_bucket_has_all_that_is_in_it():
    span = range_of("24h", NOW)
    series = [Series("inserted", "good", {3: 1_200}), Series("rejected", "bad", {3: 5, 4: 0})]
    [column, other] = bars("title", span, series, empty="").columns
    assert column.says == "11:00 inserted 1,200, rejected 5"
    assert other.says == "11:15 0"


def test_a_line_breaks_where_nothing_is_known_for_long():
    span = range_of("6h", NOW)  # buckets of five minutes: three may be missing
    chart = lines("t", span, [Series("s", "line", {0: 1, 3: 2, 20: 3})], empty="", scale=count_scale, says=str)
    [(_, path)] = chart.lines
    assert [path.count("M"), path.count("L")] == [2, 1]

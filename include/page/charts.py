"""Charts as SVG: from counts in buckets of time to where each bar, line and label is drawn.

A chart is WIDTH × HEIGHT units; the template draws what is computed here, in colours of the style sheet. Pure: no
query, no request.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from include.page.ranges import Range

WIDTH, HEIGHT = 600, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 26  # margins for the labels
MOST_TICKS = 5
REACH = 900  # seconds between two values that a line may bridge: runs come every five minutes
TIME_STEPS = [60, 300, 900, 3_600, 21_600, 86_400, 7 * 86_400]  # seconds between the lines of a scale of time

Values = Mapping[int, float]  # by the number of the bucket


@dataclass(frozen=True, slots=True)
class Series:
    """What is drawn: its name, its class in the style sheet, and a value for each bucket that has one."""

    name: str
    style: str
    values: Values


@dataclass(frozen=True, slots=True)
class Column:
    """A bucket, and what is said of it when it is pointed at."""

    x: float
    width: float
    says: str


@dataclass(frozen=True, slots=True)
class Chart:
    """All that the template draws. `summary` says in words what it shows; without data, it is all there is."""

    title: str
    summary: str
    y_ticks: list[tuple[float, str]] = field(default_factory=list)
    x_ticks: list[tuple[float, str]] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    areas: list[tuple[str, str]] = field(default_factory=list)  # style, path: a part of each bar
    lines: list[tuple[str, str]] = field(default_factory=list)  # style, path
    legend: list[tuple[str, str, str]] = field(default_factory=list)  # style, name, what it comes to
    is_empty: bool = False


def number(value: float) -> str:
    """A count, short enough for an axis.

    >>> number(950), number(12_500), number(3_000_000)
    ('950', '12.5 k', '3 M')
    """
    for size, unit in ((1_000_000, " M"), (10_000, " k")):
        if value >= size:
            return f"{value / (1_000 if unit == ' k' else size):.3g}{unit}"
    return f"{value:,.0f}"


def bars(title: str, span: Range, series: Sequence[Series], *, empty: str) -> Chart:
    """Counts as bars, stacked. `empty` is said where there are none."""
    totals: Counter[int] = Counter()
    for each in series:
        totals.update({bucket: round(value) for bucket, value in each.values.items() if value})
    if not totals:
        return Chart(title, empty, is_empty=True)
    scale = count_scale(max(totals.values()))
    sums = [(each.style, each.name, number(sum(each.values.values()))) for each in series]
    return Chart(
        title,
        _in_words(span, sums),
        _y_ticks(scale, number),
        _x_ticks(span),
        _columns(span, series, "{:,}".format),
        areas=_stacked(span, series, scale[-1]),
        legend=sums,
    )


def lines(
    title: str,
    span: Range,
    series: Sequence[Series],
    *,
    empty: str,
    scale: Callable[[float], list[float]],
    says: Callable[[float], str],
) -> Chart:
    """A line for each series, broken where nothing is known for long. `scale` and `says` are those of the unit."""
    values = [value for each in series for value in each.values.values()]
    if not values:
        return Chart(title, empty, is_empty=True)
    ticks = scale(max(values))
    worst = [(each.style, each.name, _last_and_most(each.values, says)) for each in series]
    return Chart(
        title,
        _in_words(span, worst),
        _y_ticks(ticks, says),
        _x_ticks(span),
        _columns(span, series, says),
        lines=[(each.style, _path(each.values, span, ticks[-1])) for each in series],
        legend=worst,
    )


def count_scale(most: float) -> list[float]:
    """Round numbers from 0 to `most` or a little more.

    >>> count_scale(7), count_scale(1_900)
    ([0, 2, 4, 6, 8], [0, 500, 1000, 1500, 2000])
    """
    steps = (factor * 10**digits for digits in itertools.count() for factor in (1, 2, 5))
    return _scale(most, next(step for step in steps if most <= step * (MOST_TICKS - 1)))


def time_scale(most: float) -> list[float]:
    """Seconds from 0 to `most` or a little more, in steps that people count time by.

    >>> time_scale(130), time_scale(4_000)
    ([0, 60, 120, 180], [0, 3600, 7200])
    """
    weeks = (number * TIME_STEPS[-1] for number in itertools.count(2))
    steps = itertools.chain(TIME_STEPS, weeks)
    return _scale(most, next(step for step in steps if most <= step * (MOST_TICKS - 1)))


def _scale(most: float, step: int) -> list[float]:
    return [step * tick for tick in range(max(1, math.ceil(most / step)) + 1)]


def _last_and_most(values: Values, says: Callable[[float], str]) -> str:
    return f"{says(values[max(values)])}, at most {says(max(values.values()))}" if values else "unknown"


def _in_words(span: Range, legend: Sequence[tuple[str, str, str]]) -> str:
    return f"{span.title}: " + ", ".join(f"{name} {total}" for _, name, total in legend)


def _columns(span: Range, series: Sequence[Series], says: Callable[[float], str]) -> list[Column]:
    """What is said of each bucket that has a value."""
    columns = []
    for bucket in sorted(set().union(*(each.values for each in series))):
        values = ", ".join(f"{each.name} {says(each.values[bucket])}" for each in series if each.values.get(bucket))
        said = f"{span.at(bucket):{'%m-%d ' if span.has_days else ''}%H:%M} {values or says(0)}"
        columns.append(Column(_round(_x(span, bucket)), _round(_step(span)), said))
    return columns


def _step(span: Range) -> float:
    return (WIDTH - LEFT - RIGHT) / span.count


def _x(span: Range, bucket: float) -> float:
    return LEFT + bucket * _step(span)


def _y(value: float, top: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)


def _stacked(span: Range, series: Sequence[Series], top: float) -> list[tuple[str, str]]:
    """A path for each series: its part of each bar, on top of those before it."""
    below: Counter[int] = Counter()
    width = max(1.0, _round(_step(span) - 1))
    drawn = []
    for each in series:
        path = ""
        for bucket, value in sorted(each.values.items()):
            y, height = _y(below[bucket] + value, top), value / top * (HEIGHT - TOP - BOTTOM)
            if value:
                path += f"M{_round(_x(span, bucket))} {_round(y)}h{width}v{_round(height)}h-{width}z"
            below[bucket] += round(value)
        drawn.append((each.style, path))
    return drawn


def _path(values: Values, span: Range, top: float) -> str:
    """A line through the middles of its buckets, broken where nothing is known for long; a single one is a dash."""
    said, reach = [], max(1, REACH // span.seconds)
    buckets = sorted(values)
    for before, bucket, behind in zip([-math.inf, *buckets], buckets, [*buckets[1:], math.inf], strict=False):
        x, y = _round(_x(span, bucket + 0.5)), _round(_y(values[bucket], top))
        if bucket - before <= reach:
            said.append(f"L{x} {y}")
        else:
            said.append(f"M{x} {y}" if behind - bucket <= reach else f"M{_round(x - 2)} {y}h4")
    return "".join(said)


def _y_ticks(scale: Sequence[float], says: Callable[[float], str]) -> list[tuple[float, str]]:
    return [(_round(_y(tick, scale[-1])), says(tick)) for tick in scale]


def _x_ticks(span: Range) -> list[tuple[float, str]]:
    """A label at every sixth of the range."""
    return [(_round(_x(span, part * span.count / 6)), span.label(part * span.count / 6)) for part in range(6)]


def _round(value: float) -> float:
    """As exact as can be seen; whole numbers are written without a point."""
    rounded = round(float(value), 1)
    return int(rounded) if rounded.is_integer() else rounded

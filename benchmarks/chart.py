"""Lines over labels as SVG, for light and dark pages alike."""

from __future__ import annotations

import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.figures import Chart, number

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
LEFT, TOP, WIDTH, HEIGHT = 60, 50, 460, 240
COLOURS = ("#2a78d6", "#1baf7a", "#c77b10", "#9a5fc9")


def svg(chart: Chart) -> str:
    """The chart's file. Series of one pair, dashed and not, share a colour."""
    top = _round_up(max(value for series in chart.series for value in series.values))
    across = WIDTH / max(1, len(chart.labels) - 1)
    colours: dict[str, str] = {}
    lines = []
    for series in chart.series:
        pair = series.name.split(", ")[-1]
        colours.setdefault(pair, COLOURS[len(colours)])
        points = [(LEFT + across * index, _height(value, top)) for index, value in enumerate(series.values)]
        lines.append({"series": series, "colour": colours[pair], "points": points, "texts": map(number, series.values)})
    ticks = [(number(top * part / 4), _height(top * part / 4, top)) for part in range(5)]
    labels = [(label, LEFT + across * index) for index, label in enumerate(chart.labels)]
    return TEMPLATES.get_template("chart.svg.jinja").render(
        chart=chart, lines=lines, ticks=ticks, labels=labels, left=LEFT, top=TOP, width=WIDTH, height=HEIGHT
    )


def _height(value: float, top: float) -> float:
    return TOP + HEIGHT * (1 - value / top)


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 or 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return power * next(step for step in (1, 2, 4, 6, 8, 10) if step * power >= value)

"""A figure: our number beside the floor's, their ratio, and the goal that was set for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

RATIO = "×"
HUNDRED = 100


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the page's first table. The goal is about `value`: a ratio, or a difference, or ours itself."""

    what: str
    floor: float | None
    ours: float
    unit: str
    value: float
    sign: Literal["≥", "≤"]
    goal: float
    goal_unit: str = RATIO

    @property
    def reached(self) -> bool:
        """Whether the goal is met."""
        return self.value >= self.goal if self.sign == "≥" else self.value <= self.goal

    def cells(self) -> list[str]:
        """The row, as text, for HEADERS."""
        return [
            self.what,
            "" if self.floor is None else f"{number(self.floor)} {self.unit}",
            f"{number(self.ours)} {self.unit}",
            f"{self.value:.2f} {RATIO}" if self.goal_unit == RATIO else f"{number(self.value)} {self.goal_unit}",
            f"{self.sign} {number(self.goal)} {self.goal_unit}",
            "yes" if self.reached else "**no**",
        ]


def speed(what: str, floor: float, ours: float, unit: str, *, at_least: float) -> Figure:
    """Two rates: ours is to be so many times the floor's."""
    return Figure(what, floor, ours, unit, ours / floor, "≥", at_least)


def growth(what: str, floor: float, ours: float, unit: str, *, at_most: float) -> Figure:
    """Two costs: ours is to be no more than so many times the floor's."""
    return Figure(what, floor, ours, unit, ours / floor, "≤", at_most)


def absolute(what: str, floor: float | None, ours: float, unit: str, *, at_most: float, beyond: float = 0) -> Figure:
    """A cost that is to be no more than so much beyond something."""
    return Figure(what, floor, ours, unit, ours - beyond, "≤", at_most, unit)


HEADERS = ("what", "floor", "ours", "result", "goal", "reached")


@dataclass(frozen=True, slots=True)
class Table:
    """More numbers on a figure."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart, a value for each label of its horizontal axis."""

    name: str
    values: Sequence[float]
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over labels; the vertical axis starts at zero."""

    name: str
    title: str
    across: str
    labels: Sequence[str]
    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class Section:
    """One group of figures. The page's template says how they are defined."""

    figures: Sequence[Figure]
    tables: Sequence[Table] = field(default=())
    chart: Chart | None = None


def number(value: float) -> str:
    """Three digits that count, or more; thousands apart.

    >>> number(12345.6), number(3.14159), number(0.0000123)
    ('12,346', '3.14', '0.0000123')
    """
    if abs(value) >= HUNDRED:
        return f"{value:,.0f}"
    return format(Decimal(f"{value:.3g}"), "f")

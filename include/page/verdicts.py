"""The verdict: is it keeping up, is it losing anything? Each state and its words are in `states.py`."""

from __future__ import annotations

from dataclasses import dataclass

from include.page.situation import Situation
from include.page.states import DRAINS, STATES, State, Tone


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state as it is said."""

    name: str
    tone: Tone
    sentence: str
    next_step: str
    dag_id: str
    stops_flow: bool


def verdicts(situation: Situation) -> list[Verdict]:
    """All that is to be said, the most urgent first; never nothing."""
    return [
        Verdict(
            state.name,
            state.tone,
            state.says(situation),
            state.next_step,
            state.dag_id(situation) or DRAINS,
            state.stops_flow,
        )
        for state in _holding(situation)
    ]


def _holding(situation: Situation) -> list[State]:
    """All that hold. That it keeps up is said in one way, and also beside what else is wrong: but for a standstill."""
    found = [state for state in STATES if state.holds(situation)]
    wrong = [state for state in found if state.tone != "good"]
    well = [state for state in found if state.tone == "good"]
    return wrong if any(state.stops_flow for state in wrong) else [*wrong, well[0]]

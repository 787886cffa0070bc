"""While a drain runs, nobody searches all that was there before for garbage."""

import gc

import pytest

from include.batches.drain import all_else_frozen


def fail():
    raise LookupError


@pytest.mark.parametrize("end", [fail, list])
def test_only_what_a_drain_makes_itself_is_searched_while_it_runs(end):
    there = [[]]
    try:
        with all_else_frozen():
            made = [[]]
            assert not any(each is there for each in gc.get_objects())
            assert any(each is made for each in gc.get_objects())
            end()
    except LookupError:
        assert end is fail
    assert any(each is there for each in gc.get_objects())

"""While a drain runs, nobody searches what was there before for garbage, and its threads share a core."""

import gc
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import get_native_id

import psutil
import pytest

from include.batches import interpreter
from include.batches.interpreter import all_else_frozen, on_one_core

HERE = os.sched_getaffinity(0) if sys.platform == "linux" else set()
two_cores = pytest.mark.skipif(len(HERE) < 2, reason="needs Linux and two cores")


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


@pytest.fixture
def woken_on(monkeypatch):
    """Let the kernel seem to have woken the landing thread on this core; it would not, on a busy machine."""

    def wake(core):
        monkeypatch.setattr(psutil.Process, "cpu_num", lambda _: core)

    return wake


@contextmanager
def another_thread(core):
    """What a thread that has joined may run on, asked again and again."""
    with ThreadPoolExecutor(1, "another", core.join) as pool:
        native = pool.submit(get_native_id).result()
        yield lambda: os.sched_getaffinity(native)


@two_cores
def test_threads_share_the_core_on_which_the_landing_one_woke_and_follow_it(monkeypatch, woken_on):
    first, second, *_ = sorted(HERE)
    clock = iter([10, 10.5, 11.5, 12, 12.5])
    monkeypatch.setattr(interpreter, "monotonic", lambda: next(clock))
    woken_on(first)
    with on_one_core() as core:
        core.choose()
        with another_thread(core) as where:
            assert os.sched_getaffinity(0) == where() == {first}
            woken_on(second)
            core.choose()  # half a second later
            assert os.sched_getaffinity(0) == where() == {first}
            core.choose()  # more than a second later
            assert (os.sched_getaffinity(0), where()) == (HERE, {first})
            core.choose()
            assert os.sched_getaffinity(0) == where() == {second}
    assert os.sched_getaffinity(0) == HERE


@two_cores
def test_a_thread_is_free_again_after_a_failure():
    def drain():
        with on_one_core() as core:
            core.choose()
            fail()

    with pytest.raises(LookupError):
        drain()
    assert os.sched_getaffinity(0) == HERE


@two_cores
@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [
        (os, "sched_setaffinity", PermissionError()),
        (os, "sched_getaffinity", PermissionError()),
        (psutil.Process, "cpu_num", psutil.AccessDenied()),
        (psutil.Process, "cpu_num", IndexError("of a file of /proc that an emulator makes")),
    ],
)
def test_where_the_kernel_forbids_it_threads_run_as_they_did(monkeypatch, owner, name, error):
    def forbid(*_):
        raise error

    asked = os.sched_getaffinity
    monkeypatch.setattr(owner, name, forbid)
    with on_one_core() as core, ThreadPoolExecutor(1, "another", core.join) as pool:
        native = pool.submit(get_native_id).result()
        core.choose()
        assert asked(0) == asked(native) == HERE


@two_cores
def test_the_landing_thread_is_let_go_for_good_where_the_others_cannot_follow(monkeypatch, woken_on):
    def refuse(thread, cores):
        if thread not in (0, get_native_id()):
            refused.append(thread)
            raise PermissionError
        bind(thread, cores)

    first, second, *_ = sorted(HERE)
    refused, bind = [], os.sched_setaffinity
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    monkeypatch.setattr(interpreter, "STAY_SECONDS", -1)
    woken_on(first)
    with on_one_core() as core:
        core.choose()
        with another_thread(core) as where:
            woken_on(second)
            for _ in range(5):
                core.choose()
            assert (os.sched_getaffinity(0), where(), len(refused)) == (HERE, {first}, 1)


@two_cores
def test_the_core_is_that_of_the_thread_that_lands_which_need_not_be_the_main_one(monkeypatch):
    def landing():
        with on_one_core() as core:
            core.choose()
            return get_native_id(), os.sched_getaffinity(0)

    asked, here = [], min(HERE)
    monkeypatch.setattr(psutil.Process, "cpu_num", lambda process: asked.append(process.pid) or here)
    with ThreadPoolExecutor(1) as pool:
        native, bound = pool.submit(landing).result()
    assert (asked, bound) == ([native], {here})
    assert os.sched_getaffinity(0) == HERE


@two_cores
def test_a_drain_that_has_bound_nothing_leaves_the_kernels_own_choice(monkeypatch):
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: pytest.fail("nothing was bound"))
    with on_one_core():
        pass


def test_other_systems_are_asked_nothing(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with on_one_core() as core:
        core.join()
        core.choose()

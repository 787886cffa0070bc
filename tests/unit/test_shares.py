from hypothesis import given
from hypothesis import strategies as st

from include.sqs.plan import MAX_THREADS, plan_drain


@given(st.integers(1, 10**9), st.integers(1, 10**6), st.integers(1, 32))
def test_shares_add_up_to_what_the_run_may_take(backlog, max_messages, max_workers):
    shares = plan_drain(backlog, max_messages=max_messages, max_workers=max_workers)
    assert sum(share["messages"] for share in shares) == max_messages
    assert 1 <= len(shares) <= max_workers
    assert all(share["messages"] >= 1 and 1 <= share["threads"] <= MAX_THREADS for share in shares)


def test_an_empty_queue_needs_no_worker():
    assert plan_drain(0, max_messages=1000, max_workers=4) == []


def test_a_small_backlog_costs_one_small_task():
    assert plan_drain(500, max_messages=100_000, max_workers=4) == [{"messages": 100_000, "threads": 1}]


def test_threads_come_before_workers():
    assert plan_drain(15_000, max_messages=100_000, max_workers=4) == [{"messages": 100_000, "threads": 30}]
    assert plan_drain(15_001, max_messages=100_000, max_workers=4) == [{"messages": 50_000, "threads": 15}] * 2
    assert plan_drain(64_000, max_messages=100_000, max_workers=4) == [{"messages": 25_000, "threads": MAX_THREADS}] * 4


def test_a_large_backlog_uses_all_that_is_allowed():
    shares = plan_drain(10**7, max_messages=1_000_000, max_workers=4)
    assert shares == [{"messages": 250_000, "threads": MAX_THREADS}] * 4

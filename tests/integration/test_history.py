"""The made-up history behind the page's pictures and benchmarks: to the page it looks like the work of runs."""

from datetime import UTC, datetime, timedelta

import pytest

from include.batches.shared import count_shared
from include.page.metrics import exposition
from include.page.view import look
from include.warehouse.partitions import make_partitions
from include.warehouse.setup import prepare_warehouse
from sandbox.history import write_history

DAYS, BATCHES, LOGINS = 3, 3 * 288, 10


@pytest.fixture
def filled(warehouse):
    prepare_warehouse(warehouse)
    make_partitions(warehouse, (datetime.now(UTC) - timedelta(days=DAYS)).date())
    write_history(warehouse, days=DAYS, batches=BATCHES, logins=LOGINS, logins_a_reject=40, queue="a queue")
    return warehouse


def test_it_adds_up_and_has_about_what_was_asked_for(filled):
    [counts] = filled.execute(
        "select count(*), count(*) filter (where received <> staged + rejected or staged <> inserted), sum(staged), "
        "sum(rejected), (select count(*) from public.user_logins), (select count(*) from login_etl.rejected_messages) "
        "from login_etl.batches"
    ).fetchall()
    batches, faults, staged, rejected, loaded, kept = counts
    assert (batches, faults) == (BATCHES, 0)
    assert loaded == staged == pytest.approx(BATCHES * LOGINS, rel=0.1)
    assert kept == rejected == pytest.approx(BATCHES * LOGINS / 40, rel=0.4)
    assert filled.execute("select unnest(unbalanced_batches) from login_etl.history").fetchall() == []
    assert filled.execute("select count(*) from public.user_logins_default").fetchall() == [(0,)]


def test_the_page_has_something_to_show_in_each_part(filled):
    count_shared(filled)
    assert "user_logins_received_total" in exposition(filled)
    for name in ("24h", "7d"):
        view = look(filled, name)
        assert [verdict.name for verdict in view.verdicts] == ["keeping_up"]
        assert [name for name, panel in view.panels.items() if panel.fault] == []
        parts = {name: panel.data for name, panel in view.panels.items()}
        charts = [*parts["flow"], parts["depth"], parts["rejects"].chart]
        assert not any(chart.is_empty for chart in charts)
        assert parts["rejects"].reasons
        assert {run.outcome for run in parts["runs"]} == {"all loaded"}
        assert {row["what"] for row in parts["shared"].masks} == {"device", "address"}

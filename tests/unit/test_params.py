"""What a run is told: ranges, selections, retentions; what makes no sense is one sentence."""

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from include.batches.rejected import Selection
from include.batches.window import Window
from include.failures import SetupError
from include.params import DISCLOSURE_FORM, months_to_keep, rebuild_window, retention, selection

START, STOP = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 12, 5, tzinfo=UTC)
NO_RANGE = {"rebuild_from": None, "rebuild_to": None}


def run(run_type):
    return SimpleNamespace(run_type=run_type, data_interval_start=START, data_interval_end=STOP)


@pytest.mark.parametrize("run_type", ["scheduled", "manual"])
def test_a_run_drains_unless_told_otherwise(run_type):
    assert rebuild_window(run(run_type), NO_RANGE) is None


def test_a_backfill_run_rebuilds_its_interval():
    assert rebuild_window(run("backfill"), NO_RANGE) == Window(START, STOP)


def test_a_backfill_run_without_an_interval_drains_nothing():
    run = SimpleNamespace(run_type="backfill", data_interval_start=None, data_interval_end=None)
    with pytest.raises(SetupError, match="no data interval"):
        rebuild_window(run, NO_RANGE)


def test_params_name_any_range():
    params = {"rebuild_from": "2026-01-01T00:00:00Z", "rebuild_to": "2026-01-02T00:00:00+01:00"}
    window = rebuild_window(run("manual"), params)
    assert window.stop - window.start == timedelta(hours=23)


@pytest.mark.parametrize(
    ("start", "stop", "fault"),
    [
        ("2026-01-01T00:00:00Z", None, "set both"),
        (None, "2026-01-01T00:00:00Z", "set both"),
        ("2026-01-01T00:00:00", "2026-01-02T00:00:00Z", "rebuild_from: has no time zone"),
        ("2026-01-01T00:00:00Z", "tomorrow", "rebuild_to: not a date-time"),
        ("0001-01-01T00:00:00+01:00", "2026-01-02T00:00:00Z", "rebuild_from: is outside the years 1 to 9999"),
        ("2026-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "rebuild_to: is outside the years 1 to 9999"),
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "rebuild_from must be earlier than rebuild_to"),
        ("2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", "rebuild_from must be earlier than rebuild_to"),
    ],
)
def test_a_range_that_is_none_is_refused(start, stop, fault):
    with pytest.raises(SetupError, match=fault):
        rebuild_window(run("manual"), {"rebuild_from": start, "rebuild_to": stop})


NOTHING = {"limit": 7, "reasons": None, "rejected_from": None, "rejected_to": None}


def test_params_select():
    assert selection(NOTHING) == Selection(limit=7)
    assert selection(NOTHING | {"reasons": []}) == Selection(limit=7)
    copied = selection(NOTHING | {"reasons": ["ip: string_type; user_id: missing ", "", "body: json_invalid"]})
    assert copied.rules == ["ip: string_type", "user_id: missing", "body: json_invalid"]
    chosen = selection(
        NOTHING
        | {"reasons": ["ip: string_type"], "rejected_from": "2026-01-01T00:00Z", "rejected_to": "2026-01-02T00:00Z"}
    )
    assert chosen.rules == ["ip: string_type"]
    assert chosen.stop - chosen.start == timedelta(days=1)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rejected_from": "2026-01-01T00:00"}, "param rejected_from: has no time zone"),
        ({"rejected_to": "tomorrow"}, "param rejected_to: not a date-time"),
        (
            {"rejected_from": "2026-01-02T00:00Z", "rejected_to": "2026-01-01T00:00Z"},
            "rejected_from must be earlier than rejected_to",
        ),
    ],
)
def test_params_that_make_no_sense_are_one_sentence(change, sentence):
    with pytest.raises(SetupError, match=sentence):
        selection(NOTHING | change)


@pytest.mark.parametrize("text", ["", "0", "-1", "30.5", "many", "4000", "٣", " 30"])
def test_a_retention_that_is_no_number_of_days_is_one_sentence(text):
    assert retention("a_variable", "15") == 15
    with pytest.raises(SetupError, match="variable a_variable is not a number of days from 1 to 3,650"):
        retention("a_variable", text)


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "many", "4000", "٣", " 30"])
def test_months_that_are_no_number_are_one_sentence_and_none_is_for_ever(text):
    assert (months_to_keep("24"), months_to_keep("")) == (24, None)
    with pytest.raises(SetupError, match="variable user_logins_keep_months is not a number of months from 1 to 1,200"):
        months_to_keep(text)


@pytest.mark.parametrize(
    "reason", ["a chargeback", "x" * 300, "0123456789", "# no heading, once it is quoted", "ünïcödé tëxt"]
)
def test_a_reason_is_one_line(reason):
    assert re.search(DISCLOSURE_FORM["reason"].schema["pattern"], reason)


@pytest.mark.parametrize(
    "reason",
    [
        "x" * 9,
        "x" * 301,
        " " * 10,
        "why" + 10 * " ",
        "two\nlines of it",
        "a chargeback\n",
        "a `chargeback`",
        "a\u2028line",
    ],
)
def test_a_reason_that_shows_nothing_or_more_than_itself_is_refused(reason):
    assert not re.search(DISCLOSURE_FORM["reason"].schema["pattern"], reason)

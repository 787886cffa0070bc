"""The verdict, for situations that are made in a real database: each in a transaction that is rolled back."""

import re
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import tuple_row

from include.page.situation import read_situation
from include.page.states import STATES
from include.page.verdicts import verdicts
from include.warehouse.setup import prepare_warehouse

A_RUN = """
insert into login_etl.queue_depths (dag_id, run_id, queue, waiting, in_flight, dead_letters, observed_at)
values (%(dag_id)s, %(run_id)s, %(queue)s, %(waiting)s, 0, %(dead_letters)s, now() - %(ago)s::interval)
"""
A_BATCH = """
insert into login_etl.batches (
    dag_id, run_id, map_index, try_number, source, queue, kid, received, staged, rejected, deleted, delete_failed,
    expired, inserted, already_there, refused, oldest_sent_at, newest_sent_at, started_at, staged_at, merged_at, refusal
)
values (
    %(dag_id)s, %(run_id)s, 0, 1, %(source)s, 'q', 'k', %(received)s, %(received)s - %(rejected)s, %(rejected)s,
    %(received)s - %(delete_failed)s, %(delete_failed)s, 0,
    case when %(merged)s then %(received)s - %(rejected)s - %(refused)s - %(lost)s end, case when %(merged)s then 0 end,
    %(refused)s, now() - %(ago)s::interval - %(lag)s::interval, now() - %(ago)s::interval, now() - %(ago)s::interval,
    now() - %(ago)s::interval, case when %(merged)s then now() - %(ago)s::interval end, %(refusal)s
)
returning batch_id
"""


A_MINUTE = {"ago": "1 minute", "run_id": "r", "dag_id": "user_logins"}
RUN = A_MINUTE | {"queue": "q", "waiting": 0, "dead_letters": 0}
BATCH = A_MINUTE | {"source": "queue", "lag": "12 seconds", "merged": True, "refusal": None}
BATCH |= {"received": 100, "rejected": 0, "refused": 0, "lost": 0, "delete_failed": 0}
REJECTED = """
insert into login_etl.rejected_messages (message_id, batch_id, sent_at, receive_count, reason, fields, kid)
select gen_random_uuid(), 1, now(), 1, %s, '{}', 'k' from generate_series(1, %s)
"""


class Warehouse:
    """What a situation is made of."""

    def __init__(self, connection):
        self.connection = connection

    def execute(self, *query):
        return self.connection.execute(*query)

    def run(self, **changed):
        self.execute(A_RUN, RUN | changed)

    def batch(self, **changed):
        return self.execute(A_BATCH, BATCH | changed).fetchone()[0]

    def reject(self, reason, messages):
        self.execute(REJECTED, [reason, messages])


@pytest.fixture(scope="module")
def prepared(local):
    with local.connect("postgres") as connection:
        connection.execute("drop database if exists verdicts with (force)")
        connection.execute("create database verdicts")
    with local.connect("verdicts") as connection:
        connection.execute("grant create on database verdicts to pipeline; grant create on schema public to pipeline")
    with local.connect("verdicts", user="pipeline") as connection:
        prepare_warehouse(connection)
        yield connection


@pytest.fixture
def it(prepared):
    with prepared.transaction():
        yield Warehouse(prepared)
        raise psycopg.Rollback


def said(it):
    """The states, the most urgent first; and the sentence of the first."""
    found = verdicts(read_situation(it.connection))
    return [verdict.name for verdict in found], found[0].sentence


def nothing_yet(it):
    return ["nothing_yet"], "Nothing has run yet"


def keeping_up(it):
    it.run()
    it.batch()
    return ["keeping_up"], "Keeping up, 12 s behind"


def an_empty_queue(it):
    it.run()
    it.run(ago="2 hours", run_id="earlier", waiting=100)
    it.batch(ago="2 hours", run_id="earlier", lag="2 hours")
    return ["idle"], "Keeping up: the queue is empty, and nothing has come since"


def an_empty_queue_from_the_beginning(it):
    it.run()
    return ["idle"], "Keeping up: the queue is empty"


def a_backlog_that_the_last_run_has_taken(it):
    it.run(waiting=100)
    it.batch(lag="3 hours")
    return ["caught_up"], "Caught up: the slowest of the last messages took 3 h"


def behind(it):
    it.run(waiting=5_000)
    it.batch(ago="50 minutes", run_id="in time")
    it.batch(ago="20 minutes", run_id="late", lag="20 minutes")
    it.batch(lag="25 minutes")
    return ["behind"], "Behind by 25 min since .*, with 4,900 messages left on the queue"


def one_queue_that_is_late_and_another_that_has_a_backlog(it):
    it.run(waiting=5_000)
    it.batch()
    it.run(dag_id="partner_logins", run_id="p")
    it.batch(dag_id="partner_logins", run_id="p", lag="3 hours")
    return ["caught_up"], "Caught up: the slowest of the last messages took 3 h from sent to merged"


def a_queue_that_nobody_drains(it):
    for minutes in range(5, 30, 5):
        it.run(ago=f"{minutes} minutes", run_id=f"r{minutes}", waiting=5_000)
    it.batch(ago="40 minutes", run_id="earlier")
    return ["stalled"], "No message has been taken since [0-9: -]+, while runs see 5,000 messages on the queue"


def a_queue_that_was_full_before_its_last_messages_were_taken(it):
    it.run(ago="3 days", run_id="earlier", waiting=5_000)
    it.batch(ago="2 days", run_id="earlier")
    it.run()
    return ["idle"], "Keeping up: the queue is empty"


def old_dead_letters_that_are_drained(it):
    it.run(waiting=90)
    it.batch(source="dead_letter_queue", lag="5 days")
    return ["keeping_up"], "Keeping up"


def a_merge_that_does_not_come(it):
    it.run()
    number = it.batch(ago="20 minutes", merged=False)
    return ["stuck"], f"Stuck since [0-9: -]+: batch {number} is staged and not merged"


def a_long_run_whose_first_batches_wait_for_its_last(it):
    it.run(ago="40 minutes", waiting=5_000)
    for minutes in (30, 20, 1):
        it.batch(ago=f"{minutes} minutes", merged=False)
    return ["keeping_up"], "Keeping up"


def a_batch_that_is_refused_and_another_that_is_stuck(it):
    it.run()
    it.batch(ago="20 minutes", run_id="earlier", merged=False)
    it.batch(ago="30 minutes", run_id="earlier", merged=False, refused=100, refusal="CheckViolation (constraint k)")
    return ["refusing", "stuck"], "Stuck since"


def a_merge_that_is_on_its_way(it):
    it.run()
    it.batch(run_id="earlier", ago="6 minutes")
    it.batch(merged=False)
    return ["keeping_up"], "Keeping up"


def a_batch_that_is_refused(it):
    it.run()
    it.batch(ago="20 minutes", merged=False)
    number = it.batch(ago="3 minutes", merged=False, refused=100, refusal="CheckViolation (constraint k)")
    return ["refusing"], rf"Stuck since [0-9: -]+: the merge refuses batch {number}, CheckViolation \(constraint k\)"


def silence(it):
    it.run(ago="2 hours")
    return ["silent"], "Nothing has run since [0-9: -]+, for 2 h"


def one_queue_of_two_that_is_silent(it):
    it.run()
    it.run(dag_id="partner_logins", run_id="p", ago="2 hours")
    return ["silent"], "Nothing has run by partner_logins since [0-9: -]+, for 2 h"


def a_queue_that_was_removed(it):
    it.run()
    it.run(dag_id="partner_logins", run_id="p", ago="2 days", waiting=None, dead_letters=7)
    return ["idle"], "Keeping up"


def a_long_run(it):
    it.run(ago="40 minutes", waiting=100)
    it.batch()
    return ["keeping_up"], "Keeping up"


def a_run_that_does_not_see_its_queue(it):
    it.run(ago="5 minutes", waiting=None, dead_letters=None)
    return ["blind"], "The last run, at [0-9: -]+, did not see its queue"


def runs_that_never_see_their_queue(it):
    it.run(ago="2 seconds", waiting=None, dead_letters=None)
    it.run(ago="5 minutes", run_id="before", waiting=None, dead_letters=None)
    return ["blind"], "The last run, at [0-9: -]+, did not see its queue"


def a_run_that_has_just_begun(it):
    it.run(ago="2 seconds", waiting=None, dead_letters=None)
    it.run(ago="5 minutes", run_id="before", dead_letters=1)
    return ["dead_letters", "idle"], "The dead-letter queue has 1 message"


def a_rebuild(it):
    it.run(ago="5 minutes", run_id="rebuild", queue=None, waiting=None, dead_letters=None)
    it.run(ago="6 minutes")
    return ["idle"], "Keeping up"


def a_producer_that_has_changed(it):
    it.run()
    it.batch(rejected=60)
    it.reject("user_id: missing", 50)
    it.reject("ip: too_long", 10)
    return ["rejecting", "keeping_up"], "Rejecting 60 % of the last hour's messages, most for user_id: missing"


def a_single_bad_message(it):
    it.run()
    it.batch(received=1, rejected=1)
    it.reject("user_id: missing", 1)
    return ["keeping_up"], "Keeping up"


def rejected_messages_that_are_still_bad_when_they_are_replayed(it):
    it.run()
    it.batch(source="rejected_messages", rejected=60)
    return ["idle"], "Keeping up"


def a_check_that_fails(it):
    it.run()
    it.batch()
    for name, passed in (("sums_hold", True), ("masks_are_masks", False)):
        it.execute(
            "insert into login_etl.data_checks (name, passed, found, checked, says) values (%s, %s, 3, 9, 'logins …')",
            [name, passed],
        )
    return ["check_failed", "keeping_up"], "A check of the data has failed, at [0-9: -]+: 3 logins …"


def a_check_that_failed_long_ago(it):
    it.run()
    it.batch()
    it.execute("insert into login_etl.data_checks values ('sums_hold', false, 3, 9, 'batches', now() - interval '2 d')")
    return ["keeping_up"], "Keeping up"


def dead_letters(it):
    it.run(dead_letters=3)
    it.run(dag_id="partner_logins", dead_letters=1)
    return ["dead_letters", "idle"], "The dead-letter queue has 4 messages"


def dead_letters_that_nobody_may_count(it):
    it.run(dead_letters=None)
    return ["idle"], "Keeping up"


def rows_that_are_refused(it):
    it.run()
    number = it.batch(refused=2)
    for _ in range(2):
        it.execute(
            "insert into login_etl.refused_rows values (%s, %s, '2026-01-31', 'CheckViolation (constraint k)', now())",
            [number, uuid4()],
        )
    return [
        "refused",
        "keeping_up",
    ], r"user_logins refuses 2 rows, staged since 2026-01-31, most for CheckViolation \(constraint k\)"


def rows_that_vanished(it):
    it.run()
    number = it.batch(lost=1)
    return ["unbalanced", "keeping_up"], f"Batch {number} does not add up"


def deletes_that_fail(it):
    it.run()
    it.batch(delete_failed=7)
    return ["not_deleted", "keeping_up"], "7 messages of the last hour could not be deleted in time"


def a_rotation(it):
    it.run()
    it.batch()
    it.execute("insert into login_etl.masking (kid, is_complete) values ('k', false)")
    return ["rotating", "keeping_up"], "A rotation of the masking key began at"


def several_things_at_once(it):
    it.run(dead_letters=1)
    it.batch(ago="20 minutes", run_id="earlier", merged=False)
    it.batch(received=300, rejected=290)
    return ["stuck", "rejecting", "dead_letters"], "Stuck since"


SITUATIONS = [
    nothing_yet,
    keeping_up,
    an_empty_queue,
    an_empty_queue_from_the_beginning,
    a_backlog_that_the_last_run_has_taken,
    behind,
    one_queue_that_is_late_and_another_that_has_a_backlog,
    a_queue_that_nobody_drains,
    a_queue_that_was_full_before_its_last_messages_were_taken,
    old_dead_letters_that_are_drained,
    a_merge_that_does_not_come,
    a_long_run_whose_first_batches_wait_for_its_last,
    a_batch_that_is_refused_and_another_that_is_stuck,
    a_merge_that_is_on_its_way,
    a_batch_that_is_refused,
    silence,
    one_queue_of_two_that_is_silent,
    a_queue_that_was_removed,
    a_long_run,
    a_run_that_does_not_see_its_queue,
    runs_that_never_see_their_queue,
    a_run_that_has_just_begun,
    a_rebuild,
    a_producer_that_has_changed,
    a_single_bad_message,
    rejected_messages_that_are_still_bad_when_they_are_replayed,
    a_check_that_fails,
    a_check_that_failed_long_ago,
    dead_letters,
    dead_letters_that_nobody_may_count,
    rows_that_are_refused,
    rows_that_vanished,
    deletes_that_fail,
    a_rotation,
    several_things_at_once,
]


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
def test_the_verdict(it, situation):
    names, sentence = situation(it)
    found, headline = said(it)
    assert found == names
    assert re.match(sentence, headline), headline


def test_every_state_has_a_situation(prepared):
    reached = set()
    for situation in SITUATIONS:
        with prepared.transaction():
            reached |= set(situation(Warehouse(prepared))[0])
            raise psycopg.Rollback
    assert reached == {state.name for state in STATES}


def test_each_state_says_what_to_do(prepared):
    assert all(state.next_step and not state.next_step.endswith(".") for state in STATES)
    assert prepared.row_factory is tuple_row  # as the page's connection has it

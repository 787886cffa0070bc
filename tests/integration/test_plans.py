"""How Postgres finds the rows of each statement, in tables that are large enough for it to matter."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from psycopg import sql

from include.warehouse.partitions import make_partition, staging_day
from include.warehouse.setup import prepare_warehouse
from include.warehouse.statements import FOLDER, statement

LARGE = ("user_logins", "staging_logins", "batches", "rejected_messages")
DAYS = 5
NOW = datetime.now(UTC)
DAY = timedelta(days=1)

PAGE = {"start": NOW - timedelta(hours=1), "stop": NOW, "seconds": 60}

# Every statement that reads large tables, with what it is given in a run.
IN_A_RUN = {
    "batches/add_up_batches": {},
    "batches/batches_of_run": {"dag_id": "user_logins", "run_id": "run 1990", "source": "queue"},
    "batches/claim_batch": {"batch_id": 19_990},
    "batches/find_rows": {"batch_id": 19_990, "staged_on": NOW.date(), "message_ids": None, "refused": [UUID(int=1)]},
    "batches/forget_loaded_rows": {"batch_id": 19_990, "message_ids": [UUID(int=1)]},
    "batches/forget_rejected_bodies": {"days": 30},
    "batches/insert_batch": {
        "dag_id": "user_logins", "queue": "u", "run_id": "a run", "map_index": 0, "try_number": 1, "source": "queue",
        "received": 1, "staged": 1, "unknown_addresses": 0, "unknown_versions": 0,
        "rejected": 0, "oldest_sent_at": NOW, "newest_sent_at": NOW, "started_at": NOW,
    },
    "batches/insert_rejected": {
        "message_id": UUID(int=1), "batch_id": 1, "sent_at": NOW, "receive_count": 1, "reason": "body: json_invalid",
        "fields": [], "kid": "k", "sealed_body": b"", "body_bytes": None, "body_sha256": None,
    },
    "batches/mark_replayed": {"batch_id": 1, "message_ids": [UUID(int=number) for number in range(10)]},
    "batches/merge_rows": {"batch_id": 19_990, "staged_on": NOW.date(), "message_ids": None, "refused": []},
    "batches/merged_by_run": {"merged_by": "user_logins/run 1990"},
    "batches/message_ids": {"batch_id": 19_990, "staged_on": NOW.date(), "refused": []},
    "batches/rebuild": {"start": NOW - DAY - timedelta(minutes=5), "stop": NOW - DAY},
    "batches/record_deletes": {"batch_id": 19_990, "deleted": 1, "delete_failed": 0, "expired": 0},
    "batches/record_merge": {
        "batch_id": 19_990, "inserted": 1, "already_there": 0, "refused": 0, "merged_by": "user_logins/a run",
    },
    "batches/record_depth": {
        "dag_id": "user_logins", "run_id": "a run", "queue": "u", "waiting": 1, "in_flight": 0, "dead_letters": None,
    },
    "batches/record_refused_batch": {"batch_id": 19_990, "merged_by": "user_logins/a run", "reason": "r"},
    "batches/refused_by_run": {"merged_by": "user_logins/run 1990", "dag_id": "user_logins", "run_id": "run 1990"},
    "batches/refused_message_ids": {"batch_id": 19_990},
    "batches/refused_summary": {},
    "batches/bodies_to_forget": {"days": 23},
    "batches/rejected_by_run": {"dag_id": "user_logins", "run_id": "run 1990", "source": "queue"},
    "batches/rejected_page": {
        "after": NOW - DAY, "after_id": UUID(int=0), "start": NOW - DAY, "stop": NOW, "rules": None, "messages": 1000,
        "bytes": 1000,
    },
    "batches/sealed_by_day": {"days": 7},
    "warehouse/staged_day": {"day": (NOW - 3 * DAY).date()},
    "batches/staged_range": {},
    "batches/unmerged_batches": {},
    "page/batches": {"before": 10_000, "rows": 100},
    "page/logins": {"day": NOW.date(), "after": UUID(int=0), "rows": 100},
    "page/batches_by_id": {"batches": [19_990]},
    "page/buckets": PAGE,
    "page/depths": PAGE,
    "page/last_runs": {"runs": 12},
    "page/message_login": {"message_id": UUID(int=1)},
    "page/message_refused": {"message_id": UUID(int=1)},
    "page/message_rejected": {"message_id": UUID(int=1)},
    "page/message_staged": {"message_id": UUID(int=1), "batches": [19_990]},
    "page/rejects": PAGE,
    "page/shared": {"field": "ip", "rows": 5},
    "page/situation": {"behind": 900},
    "page/metrics": {},
    "privacy/used_kids": {},
    "privacy/forget_bodies": {"message_ids": [UUID(int=1)]},
    "privacy/tombstones": {"masks": ["m"]},
}  # fmt: skip
# Of the catalogue, of locks, of the ledger, of the few rebuilds and refused rows; copies, which read nothing; and the
# default partition, which is read whole. Of a rotation, an
# erasure or a count of what is shared, which read all; of the checks, which read two days whole; and of schema privacy.
OTHERS = {
    "checks/count_faults",
    "privacy/apply_rewrapped", "privacy/batches_to_rewrap", "privacy/begin_masking", "privacy/bodies_to_reseal",
    "privacy/claim_batch_to_rewrap", "privacy/complete_masking", "privacy/copy_rewrapped", "privacy/count_kids",
    "privacy/empty_rewrapped", "privacy/leaf_tables", "privacy/make_rewrapped", "privacy/masking", "privacy/old_masks",
    "privacy/missing_rotation_rights", "warehouse/show_all_rows",
    "privacy/old_rows", "privacy/record_dropped_batches", "privacy/record_kid", "privacy/record_reseal",
    "privacy/switch_masking", "warehouse/pass_fence", "privacy/all_tombstones", "privacy/ask_erasure",
    "privacy/begin_install", "privacy/end_install", "privacy/end_tombstones", "privacy/erase", "privacy/erase_rows",
    "privacy/forbidden_nulls", "privacy/let_analysts_read",
    "privacy/members", "privacy/note", "privacy/raise_tombstones",
    "privacy/rewrap_tombstones", "privacy/rows_of_user", "privacy/standing", "privacy/trail", "privacy/trail_head",
    "privacy/waiting_erasures",
    "privacy/all_recipients", "privacy/ask", "privacy/ask_access", "privacy/begin_as_owner",
    "privacy/change_settings", "privacy/copy_originals", "privacy/decide", "privacy/disclose", "privacy/disclosed",
    "privacy/end_as_owner", "privacy/end_requests", "privacy/expire_originals", "privacy/find_masks",
    "privacy/has_recipients", "privacy/insert_data_key", "privacy/is_access_noted",
    "privacy/make_days", "privacy/recipients", "privacy/register", "privacy/requests", "privacy/retire",
    "privacy/revoke", "privacy/rows_of_case", "privacy/vault_standing",
    "page/default_partition_rows", "page/checks", "page/counted_at", "page/limit_time", "page/partitions",
    "batches/begin_count", "batches/count_shared", "batches/keep_counted", "batches/missing_count_rights",
    "batches/raise_revision", "batches/record_count", "batches/recount_shared",
    "batches/begin_rebuild",
    "batches/check_constraints_now", "batches/copy_logins", "batches/end_rebuild",
    "batches/has_triggers", "batches/rebuilt_by_run", "batches/record_late_merge", "batches/record_rebuild",
    "batches/record_refused_rows", "batches/refused_batches", "warehouse/add_date_check",
    "warehouse/add_partition_key", "warehouse/add_primary_key", "warehouse/adopt_columns", "warehouse/adopt_key",
    "warehouse/applied_migrations", "warehouse/attach_partition", "warehouse/create_narrow_key",
    "warehouse/create_partition", "warehouse/create_partition_index", "warehouse/default_months",
    "warehouse/drop_narrow_key", "warehouse/drop_partition_index", "warehouse/drop_staging_day",
    "warehouse/has_checksums", "warehouse/has_ledger", "warehouse/has_months", "warehouse/has_wide_key",
    "warehouse/holds_range", "warehouse/insert_made_up_row", "warehouse/insert_triggers", "warehouse/keep_whole_rows",
    "warehouse/keyless_partitions", "warehouse/lacks_identity", "warehouse/lacks_primary_key",
    "warehouse/limit_lock_waits", "warehouse/lock_default_partition", "warehouse/lock_staging_day",
    "warehouse/missing_partitions", "warehouse/missing_rights", "warehouse/move_from_default_partition",
    "warehouse/record_checksums",
    "warehouse/record_migration", "warehouse/set_for_transaction", "warehouse/staging_days", "warehouse/swap_key",
    "warehouse/drop_login_month", "warehouse/login_months",
    "warehouse/table_sizes", "warehouse/take_turn", "warehouse/taken_names", "warehouse/target",
    "warehouse/target_columns", "warehouse/target_keys", "warehouse/validate_date_check", "warehouse/written_columns",
}  # fmt: skip
FILL = """
insert into login_etl.batches (run_id, map_index, try_number, kid, received, staged, rejected, deleted, delete_failed,
    expired, inserted, already_there, oldest_sent_at, newest_sent_at, started_at, staged_at, merged_at, dag_id,
    merged_by)
select 'run ' || batch / 10, 0, 1, 'k', 10, 10, 0, 10, 0, 0, 10, 0, sent, sent, sent, sent, sent, 'user_logins',
    'user_logins/run ' || batch / 10
from generate_series(1, 20000) as batch
cross join lateral (select now() - (20000 - batch) * interval '5 days' / 20000 as sent) as age;
update login_etl.batches set merged_at = null where batch_id > 19980;

insert into login_etl.shared_masks (field, mask, users, logins) select 'ip', n, n, n from generate_series(1, 5000) as n;

insert into login_etl.queue_depths (dag_id, run_id, queue, waiting, in_flight, dead_letters, observed_at)
select 'user_logins', run_id, 'u', 0, 0, 0, min(started_at) from login_etl.batches group by run_id;

insert into login_etl.staging_logins
select batch_id, (staged_at at time zone 'UTC')::date, gen_random_uuid(), staged_at, 'user', 'ios', repeat('m', 73),
    repeat('m', 73), 'RU', '1.2.3', 1002003
from login_etl.batches, generate_series(1, 10);

insert into public.user_logins
select user_id, device_type, masked_ip, masked_device_id, locale, app_version, (sent_at at time zone 'UTC')::date,
    message_id, batch_id
from login_etl.staging_logins;

insert into login_etl.rejected_messages (message_id, batch_id, sent_at, receive_count, reason, fields, kid,
    sealed_body, rejected_at)
select gen_random_uuid(), n, now(), 1, 'body: json_invalid', '{}', 'k',
    case when n > 49000 then repeat('s', 100)::bytea end, now() - (50000 - n) * interval '60 days' / 50000
from generate_series(1, 50000) as n;

update login_etl.rejected_messages set body_bytes = 1, body_sha256 = repeat('s', 32)::bytea
where sealed_body is null and batch_id % 50 = 0;

insert into login_etl.refused_rows (batch_id, message_id, staged_on, reason)
select n, gen_random_uuid(), current_date, 'CheckViolation' from generate_series(1, 20000) as n;

insert into login_etl.erased_users select repeat('m', 60) || n, now() from generate_series(1, 20000) as n;

insert into login_etl.late_merges (batch_id, merged_by, inserted, already_there)
select n, 'user_logins/run ' || n, 1, 0 from generate_series(1, 20000) as n;
"""

INDEXES = """
select index.relname, array_remove(array_agg(part.relname::text), null)
from pg_index
inner join pg_class as index on index.oid = indexrelid
left join pg_inherits on inhparent = indexrelid
left join pg_class as part on part.oid = inhrelid
where
    index.relnamespace in ('public'::regnamespace, 'login_etl'::regnamespace)
    and not index.relispartition
    and indrelid not in ('login_etl.schema_migrations'::regclass, 'login_etl.rebuilds'::regclass)
group by index.relname
"""


def plan_of(warehouse, name):
    query = statement(name)
    if name == "warehouse/staged_day":
        query = query.format(partition=sql.Identifier("login_etl", staging_day((NOW - 3 * DAY).date()).name))
    return "\n".join(line for (line,) in warehouse.execute(sql.SQL("explain (costs off) ") + query, IN_A_RUN[name]))


@pytest.fixture(scope="module")
def plans(local):
    """The plan of each statement in a filled warehouse of its own."""
    with local.connect("postgres") as postgres:
        postgres.execute("drop database if exists large with (force)")
        postgres.execute("create database large")
    with local.connect("large") as warehouse:
        prepare_warehouse(warehouse)
        for age in range(DAYS + 1):
            make_partition(warehouse, staging_day((NOW - age * DAY).date()))
        warehouse.execute(FILL.replace("now()", f"timestamptz '{NOW}'").encode())
        warehouse.execute("vacuum (analyze)")
        yield {name: plan_of(warehouse, name) for name in IN_A_RUN}


@pytest.fixture
def indexes(local, plans):
    """Each index of ours, and its parts on the partitions."""
    with local.connect("large") as warehouse:
        return dict(warehouse.execute(INDEXES).fetchall())


def test_every_statement_is_known():
    assert {
        f"{path.parent.name}/{path.stem}" for path in FOLDER.glob("*/*.sql") if path.parent.name != "migrations"
    } == IN_A_RUN.keys() | OTHERS
    assert not IN_A_RUN.keys() & OTHERS


@pytest.mark.parametrize("name", IN_A_RUN)
def test_no_statement_reads_a_large_table_from_end_to_end(plans, local, name):
    read = set(re.findall(rf"Seq Scan on ((?:{'|'.join(LARGE)})\w*)", plans[name]))
    with local.connect("large") as warehouse:
        empty = {table for (table,) in warehouse.execute("select relname::text from pg_class where relpages = 0")}
    assert read <= empty, plans[name]


@pytest.mark.parametrize("name", ["batches/merge_rows", "batches/find_rows"])
def test_a_merge_reads_the_staging_of_one_day(plans, name):
    assert set(re.findall(r"staging_logins_\d{4}_\d\d_\d\d\b(?!_)", plans[name])) <= {f"staging_logins_{NOW:%Y_%m_%d}"}
    assert f"staging_logins_{NOW:%Y_%m_%d}_batch_id_idx" in plans[name]


def test_every_index_is_used_by_a_statement(plans, indexes):
    words = {word for plan in plans.values() for word in re.findall(r"\w+", plan)}
    unused = {index for index, parts in indexes.items() if not words & {index, *parts}}
    # For a publication, to keep it one row, to take the place of an earlier result, and for the daily count.
    by_name = {"late_merges_pkey", "masking_pkey", "shared_counts_pkey", "data_checks_pkey"}
    assert unused == by_name | {"shared_masks_pkey"}
    assert {"user_logins_pkey", "batches_not_merged", "staging_logins_by_sent_at"} <= indexes.keys()

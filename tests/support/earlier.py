"""What runs left in a database that has so many of the migrations: rows in each table that there is by then."""

DAY = "(now() at time zone 'UTC')::date"
STAGED = "insert into login_etl.staging_logins (batch_id, staged_on, message_id, sent_at, user_id)"
LOADED = "insert into public.user_logins (user_id, create_date, message_id, batch_id)"
REJECTED = "insert into login_etl.rejected_messages"
COUNTS = "run_id, map_index, try_number, kid, received, staged, rejected, inserted, already_there, deleted"
BATCHES = f"""
insert into login_etl.batches ({COUNTS}, delete_failed, expired, oldest_sent_at, newest_sent_at, started_at, merged_at)
"""
COUNT_STAGED = """
update login_etl.batches set received = rejected + rows, staged = rows, deleted = rejected + rows
from (select batch_id, count(*) as rows from login_etl.staging_logins group by batch_id) as counted
where batches.batch_id = counted.batch_id
"""
TIMES = "0, 0, now(), now(), now()"
KID = "current_setting('earlier.kid')"

# By the number of the migration that brought what they need.
ROWS = {
    1: f"""
    {BATCHES} values
        ('an old run', 0, 1, {KID}, 1, 0, 1, null, null, 1, {TIMES}, null),
        ('an old run', 1, 1, {KID}, 0, 0, 0, null, null, 0, {TIMES}, null)
    """,
    2: f"""
    do $$
    begin
        execute format(
            'create table login_etl.%I partition of login_etl.staging_logins for values from (%L) to (%L)',
            to_char({DAY}, '"staging_logins_"YYYY_MM_DD'), {DAY}, {DAY} + 1
        );
    end $$;
    {STAGED}
    select least(number, 2), {DAY}, gen_random_uuid(), now(), 'user ' || number
    from generate_series(1, 3) as number;
    {COUNT_STAGED}
    """,
    3: f"{REJECTED} values (gen_random_uuid(), 1, now(), 1, 'body: json_invalid', '{{}}', {KID}, 'x')",
    # Batch 1 is merged, batch 2 is not.
    4: f"""
    {LOADED} select user_id, {DAY}, message_id, batch_id from login_etl.staging_logins where batch_id = 1;
    update login_etl.batches set inserted = 1, already_there = 0, merged_at = now() where batch_id = 1
    """,
    # One that was replayed.
    5: f"""
    update login_etl.batches set source = 'dead_letter_queue' where batch_id = 1;
    {REJECTED} (message_id, batch_id, sent_at, receive_count, reason, fields, kid, replayed_in)
    values (gen_random_uuid(), 1, now(), 1, 'user_id: missing', '{{user_id}}', {KID}, 1)
    """,
    10: "insert into login_etl.rebuilds (run_id, sent_from, sent_to, rows) values ('a rebuild', now(), now(), 7)",
    # Batch 3 is merged but for a row, after another one was loaded late; batch 4 is refused as a whole.
    11: f"""
    {BATCHES} values
        ('a run', 0, 1, {KID}, 3, 3, 0, 2, 0, 3, {TIMES}, now()),
        ('a run', 1, 1, {KID}, 1, 1, 0, null, null, 1, {TIMES}, null);
    update login_etl.batches
    set refused = 1, merged_by = 'user_logins/a run', dag_id = 'user_logins', queue = 'https://sqs/queue'
    where run_id = 'a run';
    {STAGED}
    select batch, {DAY}, gen_random_uuid(), now(), 'user ' || 3 + number
    from unnest(array[3, 3, 3, 4]) with ordinality as batches (batch, number);
    with staged as (select * from login_etl.staging_logins where batch_id = 3 order by message_id limit 2)
    {LOADED} select user_id, {DAY}, message_id, batch_id from staged;
    insert into login_etl.refused_rows (batch_id, message_id, staged_on, reason)
    select batch_id, message_id, staged_on, 'not stored (trigger or rule)'
    from login_etl.staging_logins
    where batch_id = 3 and message_id not in (select message_id from public.user_logins where message_id is not null);
    insert into login_etl.late_merges (batch_id, merged_by, inserted, already_there)
    values (3, 'user_logins/a later run', 1, 0)
    """,
    # As days are made since then.
    12: f"""
    do $$
    begin
        execute format(
            'alter table login_etl.%I replica identity full', to_char({DAY}, '"staging_logins_"YYYY_MM_DD')
        );
    end $$
    """,
    13: "update login_etl.batches set unknown_addresses = 1, unknown_versions = 0 where batch_id = 1",
    14: f"""
    {REJECTED} (message_id, batch_id, sent_at, receive_count, reason, fields, kid, body_bytes, body_sha256)
    values (gen_random_uuid(), 1, now(), 1, 'body: too_large; user_id: missing', '{{}}', {KID}, 300000, sha256('x'))
    """,
    16: f"insert into login_etl.masking (kid, is_complete) values ({KID}, true)",
    # Somebody was erased, of whom batch 2 has a login.
    19: f"""
    insert into login_etl.erased_users values ({KID} || '-mask', now());
    {STAGED} values (2, {DAY}, gen_random_uuid(), now(), null);
    {COUNT_STAGED}
    """,
    20: "update login_etl.rejected_messages set erased_at = now(), sealed_body = null where reason like 'user_id%'",
    21: """
    insert into login_etl.queue_depths (dag_id, run_id, waiting) values ('user_logins', 'a run', 3);
    update login_etl.batches set refusal = 'a check' where batch_id = 4
    """,
    22: f"""
    insert into login_etl.shared_masks values ('ip', {KID} || '-mask', 2, 2);
    update login_etl.shared_counts set counted_at = now(), revision = 1
    """,
    23: "insert into login_etl.data_checks (name, passed, found, checked, says) values ('a check', true, 0, 1, 'none')",
    24: """
    insert into login_etl.totals values ('user_logins', 0, 0, 0, 0, 0, 0, 0, 0, 0, now());
    insert into login_etl.rejected_totals values ('user_id: missing', 0)
    """,
}


def fill(connection, version, kid):
    """Rows in each table of a database that has so many migrations; their masks are of this key."""
    connection.execute("select set_config('earlier.kid', %s, false)", [kid])
    for brought_by, rows in ROWS.items():
        if brought_by <= version:
            connection.execute(rows)


def contents(connection, *schemas):
    """Table → its rows, each as JSON; partitions are part of their table. Of ours, unless others are given."""
    tables = connection.execute(
        "select oid::regclass::text from pg_class where not relispartition and relkind in ('r', 'p') and "
        "relnamespace::regnamespace::text = any(%s)",
        [list(schemas or ("public", "login_etl"))],
    ).fetchall()
    found = {}
    for (table,) in tables:
        rows = connection.execute(f"select to_jsonb(each) from {table} as each").fetchall()
        found[table] = [row for (row,) in rows]
    return found

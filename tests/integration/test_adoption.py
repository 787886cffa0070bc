"""A stranger's `user_logins`: adopted, or refused in one sentence and left as it is."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import psycopg
import pytest

from include import pipeline
from include.batches.rebuild import rebuild
from include.batches.staging import stage
from include.batches.window import Window
from include.events.login import Login
from include.events.message import Message, Origin, Run
from include.failures import SetupError
from include.warehouse.adoption import narrow_key
from include.warehouse.default_partition import empty_default_partition
from include.warehouse.identity import check_identity, warn_of_identity
from include.warehouse.partitions import logins_month, make_partition
from include.warehouse.primary_key import add_primary_key
from include.warehouse.setup import prepare_warehouse
from tests.support.merging import REBUILD, merge
from tests.support.runs import A_RUN

NOW = datetime.now(UTC)
AGES = Window(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
ORIGIN = Origin(Run("user_logins", "a run"), 0, 1, NOW)
COLUMNS = {
    "user_id": "varchar(128)", "device_type": "varchar(32)", "masked_ip": "varchar(256)",
    "masked_device_id": "varchar(256)", "locale": "varchar(32)", "app_version": "integer", "create_date": "date",
}  # fmt: skip
NULL = "create function nothing() returns trigger language plpgsql as 'begin return null; end'"
OTHER_DAY = (
    "create function other_day() returns trigger language plpgsql as "
    "'begin new.create_date = ''2001-01-01''; return new; end'"
)
LOWER = (
    "create function lower_it() returns trigger language plpgsql as "
    "'begin new.locale = lower(new.locale); return new; end'"
)
TRIGGER = "create trigger act before insert on public.user_logins for each row execute function"


def table(more="", **columns):
    """The exercise's table, with other columns or other types, and more behind it."""
    listed = ", ".join(f"{name} {type_}" for name, type_ in (COLUMNS | columns).items() if type_)
    return f"create table public.user_logins ({listed}) {more}"


ADOPTED = {
    "the exercise's": [table()],
    "text columns": [table(user_id="text not null", locale="text", app_version="bigint")],
    "a serial key": [table(id="serial primary key")],
    "an identity key": [table(id="bigint generated always as identity primary key")],
    "a column with a default": [table(loaded_at="timestamptz not null default now()")],
    "a generated column": [table(day="date generated always as (create_date + 1) stored")],
    "a dropped column": [table(gone="integer"), "alter table public.user_logins drop column gone"],
    "half adopted": [table(message_id="uuid")],
    "with a default partition of the name of ours": [
        table("partition by range (create_date)"),
        "create table public.user_logins_default partition of public.user_logins default",
        "create table public.p1 partition of public.user_logins for values from ('2000-01-01') to ('2020-01-01')",
    ],
    "partitioned by create_date": [
        table("partition by range (create_date)"),
        "create table public.years partition of public.user_logins for values from ('2000-01-01') to ('2100-01-01')",
    ],
    "hashed by create_date": [
        table("partition by hash (create_date)"),
        "create table public.half partition of public.user_logins for values with (modulus 2, remainder 0)",
        "create table public.rest partition of public.user_logins for values with (modulus 2, remainder 1)",
    ],
    "a check": [table("", app_version="integer check (app_version > 0)")],
    "a foreign key": [
        "create table public.locales (locale varchar(32) primary key)",
        table(locale="varchar(32) references public.locales"),
    ],
    "an index": [table(), "create index on public.user_logins (user_id)"],
    "a trigger that changes other columns": [
        table(),
        LOWER,
        f"{TRIGGER} lower_it()",
    ],
    "a trigger that does nothing to a row": [table(), NULL, TRIGGER.replace("before", "after") + " nothing()"],
    "a disabled trigger": [table(), NULL, f"{TRIGGER} nothing()", "alter table public.user_logins disable trigger act"],
}
REFUSED = {
    "a view": [
        table().replace("public.user_logins", "public.other"),
        "create view public.user_logins as select * from other",
    ],
    "a materialized view": ["create materialized view public.user_logins as select 1 as user_id"],
    "a foreign table": [
        "create foreign data wrapper nothing",
        "create server elsewhere foreign data wrapper nothing",
        table("server elsewhere").replace("create table", "create foreign table"),
    ],
    "an unlogged table": [table().replace("create table", "create unlogged table")],
    "an unlogged partition": [
        table("partition by range (create_date)"),
        "create unlogged table public.y2026 partition of public.user_logins default",
    ],
    "sub-partitioned by another column": [
        table("partition by range (create_date)"),
        "create table public.y2026 partition of public.user_logins default partition by list (device_type)",
    ],
    "a key of ours with other columns": [table(), "create index user_logins_key on public.user_logins (user_id)"],
    "an index that has the name of ours": [
        table(),
        "create table public.other (a integer)",
        "create index user_logins_message_key on public.other (a)",
    ],
    "a rule": [table(), "create rule nothing as on insert to public.user_logins do instead nothing"],
    "a child": [table(), "create table public.old () inherits (public.user_logins)"],
    "partitioned by another column": [table("partition by list (device_type)")],
    "partitioned by two columns": [table("partition by range (create_date, user_id)")],
    "partitioned by an expression": [table("partition by range ((app_version + 1))")],
    "a foreign partition": [
        "create foreign data wrapper nothing",
        "create server elsewhere foreign data wrapper nothing",
        table("partition by range (create_date)"),
        "create foreign table public.far partition of public.user_logins default server elsewhere",
    ],
    "a trigger that discards": [table(), NULL, f"{TRIGGER} nothing()"],
    "a trigger that changes the day": [table(), OTHER_DAY, f"{TRIGGER} other_day()"],
    "another unique key": [table(user_id="varchar(128) unique")],
    "a key on an expression": [table(), "create unique index lower_id on public.user_logins (lower(user_id))"],
    "a partial key": [table(), "create unique index ios on public.user_logins (user_id) where device_type = 'ios'"],
    "an exclusion constraint": [
        table(),
        "alter table public.user_logins add constraint apart exclude (user_id with =)",
    ],
    "a generated create_date": [table(seen="date", create_date="date generated always as (seen) stored")],
    "an identity column of ours": [table(batch_id="bigint generated always as identity")],
    "a short column": [table(user_id="varchar(64)")],
    "another type": [table(app_version="text")],
    "a column too few": [table(locale=None)],
    "a column that must be filled in": [table(country="text not null")],
}
SENTENCES = {
    "a view": "is a view, not a table: rename",
    "a materialized view": "is a materialized view, not a table: rename",
    "a foreign table": "is a foreign table, not a table: rename",
    "an unlogged table": "is unlogged, so a crash would empty it: alter table user_logins set logged",
    "an unlogged partition": "is unlogged, so a crash would empty it: alter table y2026 set logged",
    "sub-partitioned by another column": "is partitioned by create_date, device_type, ",
    "a key of ours with other columns": "user_logins_key is not this project's, which needs the name: rename it",
    "an index that has the name of ours": "user_logins_message_key is not this project's, which needs the name",
    "a rule": "has a rule, nothing, with which .*: drop it",
    "a child": "has a table that inherits from it, old, .*: let it not inherit",
    "partitioned by another column": "is partitioned by device_type, .*: partition it by create_date",
    "partitioned by two columns": "is partitioned by create_date, user_id, ",
    "partitioned by an expression": "is partitioned by an expression, ",
    "a foreign partition": "has a foreign partition, far, which can have no unique key: detach it",
    "a trigger that discards": r"a trigger of public.user_logins \(act\) discards rows, or changes",
    "a trigger that changes the day": r"a trigger of public.user_logins \(act\) ",
    "another unique key": "has another unique key, user_logins_user_id_key, ",
    "a key on an expression": "has another unique key, lower_id, ",
    "a partial key": "has another unique key, ios, ",
    "an exclusion constraint": "has another unique key, apart, ",
    "a generated create_date": "column create_date is generated, so nothing can be written to it",
    "an identity column of ours": "column batch_id is generated, so nothing can be written to it",
    "a short column": "column user_id holds 64 characters, not 128",
    "another type": "column app_version is text, not integer",
    "a column too few": "column locale is missing",
    "a column that must be filled in": "column country, which is not ours, does not allow null",
}
# What there is of the table and around it; OIDs of what was tried and rolled back are none of it.
STATE = """
select relname, relkind, relfilenode, relhasrules, relhastriggers, relchecks, relnatts
from pg_class where relnamespace in (select oid from pg_namespace where nspname in ('public', 'login_etl'))
order by relname
"""


@pytest.fixture
def stranger(local, warehouse):
    """Make a stranger's database by these statements, and give what is in it to the pipeline."""

    def make(statements):
        with local.connect() as owner:
            for statement in statements:
                owner.execute(statement.encode())
            for (name,) in owner.execute(
                "select oid::regclass::text from pg_class where relnamespace = 'public'::regnamespace and relkind in "
                "('r', 'p', 'v', 'm', 'f') order by relname"
            ).fetchall():
                owner.execute(f"alter table {name} owner to pipeline".encode())
        return warehouse

    yield make
    with local.connect() as owner:
        owner.execute("drop foreign data wrapper if exists nothing cascade")


@pytest.fixture
def ready(warehouse):
    """A warehouse of ours."""
    prepare_warehouse(warehouse)
    return warehouse


def logins(connection, keyring, number=10, days_ago=0):
    """Stage so many logins."""
    sent = NOW - timedelta(days=days_ago)
    pairs = [(Message(uuid4(), sent, 1, ""), Login(f"user-{index}", locale="RU")) for index in range(number)]
    stage(connection, pairs, [], keyring=keyring, origin=ORIGIN)


@pytest.mark.parametrize("name", ADOPTED)
def test_it_is_adopted_and_loaded_once(stranger, keyring, name):
    connection = stranger(ADOPTED[name])
    if name == "a foreign key":
        connection.execute("insert into public.locales values ('RU')")
    prepare_warehouse(connection)
    logins(connection, keyring)
    assert merge(connection).inserted == 10
    connection.execute("update login_etl.batches set merged_at = null, inserted = null, already_there = null")
    merged = merge(connection)
    assert (merged.inserted, merged.already_there, merged.refused) == (0, 10, 0)
    connection.execute("delete from public.user_logins where user_id = 'user-1'")
    assert rebuild(connection, AGES, run=REBUILD) >= 1
    before = connection.execute(STATE).fetchall()
    prepare_warehouse(connection)
    assert connection.execute(STATE).fetchall() == before


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_sentence_and_left_alone(stranger, name):
    connection = stranger(REFUSED[name])
    before = connection.execute(STATE).fetchall()
    for _ in range(2):
        with pytest.raises(SetupError, match=SENTENCES[name]) as caught:
            prepare_warehouse(connection)
        assert str(caught.value).startswith("connection warehouse: ")
        assert "\n" not in str(caught.value)
        assert connection.execute(STATE).fetchall() == before
        assert connection.execute("select to_regnamespace('login_etl')").fetchone() == (None,)


def test_ids_of_its_own_that_are_not_unique_are_one_sentence(stranger):
    row = "(user_id, create_date, message_id) values ('u', '2026-01-01', '7c9e6679-7425-40de-944b-e07fc1f90ae7')"
    connection = stranger([table(message_id="uuid"), *[f"insert into public.user_logins {row}"] * 2])
    with pytest.raises(
        SetupError, match=r"the adoption of public\.user_logins was refused \(could not create unique index"
    ):
        prepare_warehouse(connection)


# A stranger's own columns, added to our table when it was there already.
ADDED = {
    "generated": "country text generated always as (lower(locale)) stored",
    "an identity": "number bigint generated always as identity",
    "a default": "loaded_at timestamptz not null default now()",
    "several": "note text, rank integer not null default 1, size integer generated always as (length(user_id)) stored",
}


@pytest.mark.parametrize("name", [*ADDED, "dropped"])
def test_columns_that_others_add_stop_nothing(local, ready, keyring, name):
    """A run, a new month, the emptying of the default partition, a rebuild."""
    if name == "an identity" and ready.info.server_version < 170_000:
        pytest.skip("a partitioned table can have no identity column before Postgres 17")
    change = ", ".join(f"add column {column}" for column in ADDED.get(name, "gone text").split(", "))
    ready.execute(f"alter table public.user_logins {change}".encode())
    if name == "dropped":
        ready.execute("alter table public.user_logins drop column gone")
    prepare_warehouse(ready)
    logins(ready, keyring)
    logins(ready, keyring, days_ago=900)
    assert merge(ready).inserted == 20
    assert len(empty_default_partition(ready, months=1)) == 1
    assert ready.execute("select count(*) from only public.user_logins_default").fetchone() == (0,)
    assert make_partition(ready, logins_month(NOW.date() + timedelta(days=200))) == 0
    logins(ready, keyring, days_ago=890)
    assert merge(ready).inserted == 10
    ready.execute("delete from public.user_logins where user_id < 'user-5'")
    ready.execute("update public.user_logins set locale = null")
    assert rebuild(ready, AGES, run=REBUILD) == 30


PUBLISHED = ["for all tables", "for table public.user_logins", "for all tables with (publish_via_partition_root)"]


@pytest.fixture
def published(local):
    """Publish tables, as Debezium, Airbyte and DMS do."""

    def publish(what):
        with local.connect() as owner:
            owner.execute(f"create publication everything {what}".encode())

    yield publish
    with local.connect() as owner:
        owner.execute("drop publication if exists everything")


@pytest.mark.parametrize("what", [PUBLISHED[0], PUBLISHED[2]])
def test_a_database_that_streams_its_tables_out_is_set_up_and_loaded(warehouse, published, keyring, what):
    published(what)
    prepare_warehouse(warehouse)
    logins(warehouse, keyring)
    logins(warehouse, keyring, days_ago=900)
    assert merge(warehouse).inserted == 20
    assert len(empty_default_partition(warehouse, months=3)) == 1
    warehouse.execute("update public.user_logins set locale = 'x'")
    warehouse.execute("update login_etl.staging_logins set locale = 'y'")
    assert rebuild(warehouse, AGES, run=REBUILD) == 20
    warehouse.execute("delete from login_etl.staging_logins")


def test_each_table_of_ours_has_an_identity(ready):
    make_partition(ready, logins_month(NOW.date() - timedelta(days=900)))
    lacking = ready.execute(
        "select oid::regclass::text from pg_class where relkind = 'r' and relnamespace in "
        "('public'::regnamespace, 'login_etl'::regnamespace) and not case relreplident when 'f' then true "
        "when 'd' then exists (select from pg_index where indrelid = pg_class.oid and indisprimary) else false end"
    ).fetchall()
    assert lacking == []


def test_an_adopted_table_without_identity_is_loaded_and_its_rebuild_says_what_it_needs(
    stranger, published, keyring, connected, caplog
):
    connection = stranger([table()])
    published("for table public.user_logins")
    prepare_warehouse(connection)
    warn_of_identity(connection)
    sentence = "sends the updates of user_logins, which has no replica identity, .*: alter table user_logins replica"
    assert "a publication sends the updates of user_logins" in caplog.text
    logins(connection, keyring)
    assert merge(connection).inserted == 10
    for step in (
        lambda: pipeline.check_setup(A_RUN, "", source="queue", window=AGES),
        lambda: pipeline.merge_user_logins(REBUILD, window=AGES),
    ):
        with pytest.raises(SetupError, match=sentence):
            step()
    connection.execute("alter table user_logins replica identity full")
    connection.execute("update public.user_logins set locale = 'x'")
    assert pipeline.merge_user_logins(REBUILD, window=AGES)["rebuilt"] == 10


@pytest.fixture
def keyless(warehouse, keyring, tmp_path):
    """Our table as an early version made it, with rows in it."""
    prepare_warehouse(warehouse)
    logins(warehouse, keyring)
    logins(warehouse, keyring, days_ago=900)
    merge(warehouse)
    warehouse.execute("alter table public.user_logins drop constraint user_logins_pkey")
    for part in ("user_logins", "user_logins_default", f"user_logins_{NOW:%Y_%m}"):
        warehouse.execute(f"alter table public.{part} alter column create_date drop not null".encode())
    warehouse.execute("create unique index user_logins_key on public.user_logins (create_date, message_id)")
    return warehouse


def keys_of(connection):
    """The primary keys, and the other unique keys, of our table and its partitions."""
    return connection.execute(
        "select array_agg(indexrelid::regclass::text order by 1) filter (where indisprimary), "
        "count(*) filter (where not indisprimary), count(*) = count(*) filter (where indisvalid) from pg_index "
        "where indrelid in (select relid from pg_partition_tree('public.user_logins'))"
    ).fetchone()


def test_a_table_of_before_gets_its_primary_key_partition_by_partition(keyless, published):
    published("for all tables")
    prepare_warehouse(keyless)  # and is loaded as before until then
    with pytest.raises(SetupError, match="run maintain_user_logins, which adds the primary key"):
        check_identity(keyless)
    done = add_primary_key(keyless)
    parts = keyless.execute("select count(*) from pg_partition_tree('public.user_logins')").fetchone()[0]
    assert done == {"primary key of user_logins": f"added, {parts - 1} partitions indexed"}
    names, others, valid = keys_of(keyless)
    assert (len(names), others, valid) == (parts, 0, True)
    assert add_primary_key(keyless) == {}
    prepare_warehouse(keyless)
    assert keyless.execute("select count(*) from pg_constraint where conname like '%_dated'").fetchone() == (0,)


@pytest.mark.parametrize("step", range(4, 30, 5))
def test_the_primary_key_is_finished_by_the_next_try(local, keyless, step, monkeypatch):
    """Whatever statement the first one ends at; an index that it was building is invalid then."""
    with closing(local.connect(user="pipeline")) as victim:
        execute, left = victim.execute, iter(range(step))

        def dying(query, *args, **kwargs):
            if next(left, None) is None:
                victim.close()
            return execute(query, *args, **kwargs)

        monkeypatch.setattr(victim, "execute", dying)
        with pytest.raises(psycopg.OperationalError):
            add_primary_key(victim)
    if step % 4:  # what a build that was killed leaves
        with local.connect() as owner:
            owner.execute(
                "update pg_index set indisvalid = false "
                "where indexrelid = to_regclass('user_logins_default_pkey') and not indisprimary"
            )
    add_primary_key(keyless)
    names, others, valid = keys_of(keyless)
    assert (len(names) > 4, others, valid) == (True, 0, True)


def test_rows_without_a_date_are_one_sentence(keyless):
    keyless.execute(
        "insert into public.user_logins (user_id, message_id, batch_id) values ('dateless', gen_random_uuid(), 1)"
    )
    with pytest.raises(SetupError, match=r"public\.user_logins_default has rows without create_date, so .*: set it"):
        add_primary_key(keyless)
    keyless.execute("delete from public.user_logins where create_date is null")
    assert add_primary_key(keyless)


def test_a_large_table_is_adopted_while_others_read_it(local, stranger):
    """Its key is of the rows that have a message id, which are none, and no migration builds another."""
    connection = stranger([table()])
    connection.execute("insert into public.user_logins select 'u', 'ios' from generate_series(1, 100000)")
    keys = []
    with local.connect() as analyst:
        analyst.execute("set lock_timeout = '1s'")

        def executed(query, *args, **kwargs):
            done = execute(query, *args, **kwargs)
            if "create unique index" in str(query) and "message_id is not null" in str(query):
                keys.append(analyst.execute("select count(*) from public.user_logins").fetchone())
            return done

        execute, connection.execute = connection.execute, executed
        prepare_warehouse(connection)
    assert keys == [(100_000,)] * 2
    [(definition, size)] = connection.execute(
        "select indexdef, pg_relation_size(indexname::regclass) from pg_indexes where tablename = 'user_logins'"
    ).fetchall()
    assert "(create_date, message_id) WHERE (message_id IS NOT NULL)" in definition
    assert size == 8192


def test_a_table_that_an_early_version_adopted_gets_its_key_as_it_is_now(stranger, keyring):
    connection = stranger([table(), "insert into public.user_logins select 'u' from generate_series(1, 1000)"])
    prepare_warehouse(connection)
    logins(connection, keyring)
    merge(connection)
    connection.execute("drop index public.user_logins_key")
    connection.execute("create unique index user_logins_key on public.user_logins (create_date, message_id)")
    prepare_warehouse(connection)
    with pytest.raises(psycopg.errors.UniqueViolation):  # a try that is killed leaves an invalid index
        connection.execute("create unique index concurrently user_logins_new_key on public.user_logins (user_id)")
    assert narrow_key(connection) == {"key of user_logins": "made anew, for the rows with a message id"}
    assert narrow_key(connection) == {}
    [(definition,)] = connection.execute("select indexdef from pg_indexes where tablename = 'user_logins'").fetchall()
    assert "INDEX user_logins_key ON public.user_logins" in definition
    assert "(create_date, message_id) WHERE (message_id IS NOT NULL)" in definition
    prepare_warehouse(connection)
    connection.execute("update login_etl.batches set merged_at = null, inserted = null, already_there = null")
    assert merge(connection).already_there == 10


AUDIT = """
create table public.ddl_audit (query text);
create function audit_ddl() returns event_trigger language plpgsql as
    'begin insert into public.ddl_audit values (1); end';
create event trigger audit on ddl_command_end execute function audit_ddl();
"""


@pytest.mark.parametrize("when", ["before the set-up", "before a new month"])
def test_an_event_trigger_that_our_role_may_not_serve_is_one_sentence(local, warehouse, when):
    """As AWS's DMS puts one on what it copies."""
    month = logins_month(NOW.date() + timedelta(days=200))
    step = partial(prepare_warehouse, warehouse)
    if when == "before a new month":
        step()
        step = partial(make_partition, warehouse, month)
    try:
        with local.connect() as owner:
            owner.execute(AUDIT)
        with pytest.raises(
            SetupError,
            match=r"InsufficientPrivilege \(function audit_ddl\)\): function audit_ddl of a trigger, or an event",
        ):
            step()
        with local.connect() as owner:
            owner.execute("grant insert on public.ddl_audit to pipeline")
        prepare_warehouse(warehouse)
        assert make_partition(warehouse, month) == 0
    finally:
        with local.connect() as owner:
            owner.execute("drop event trigger if exists audit")

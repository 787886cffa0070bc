"""The summary of who shares devices and addresses: what a query of the whole table would say, and nobody erased."""

import random
import shutil

import psycopg
import pytest

from include import maintenance
from include.batches import shared
from include.batches.shared import count_shared
from include.failures import SetupError
from include.warehouse.adoption import adopt
from include.warehouse.migrations import MIGRATIONS, migrate, read_migrations
from include.warehouse.partitions import logins_month, make_partition
from include.warehouse.retention import drop_login_months
from include.warehouse.setup import prepare_warehouse
from tests.integration.test_adoption import table
from tests.integration.test_maintenance import month_ago
from tests.support.worker import Conversation, exit_code

VIEWS = {"shared_devices": "masked_device_id", "shared_addresses": "masked_ip"}
# What the views were before there was a summary.
NAIVE = """
select {mask}, count(distinct user_id) as users, count(*) as logins
from public.user_logins
where {mask} is not null
group by {mask}
having count(distinct user_id) > 1
order by users desc, logins desc, {mask}
"""
COLUMNS = """
select attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod), attcollation
from pg_attribute
where attrelid in ('login_etl.shared_devices'::regclass, 'login_etl.shared_addresses'::regclass) and attnum > 0
order by 1, attnum
"""


@pytest.fixture
def ready(warehouse):
    prepare_warehouse(warehouse)
    return warehouse


def insert(warehouse, *logins, day="2026-01-31"):
    """A login for each user, device and address."""
    with warehouse.cursor() as cursor:
        cursor.executemany(
            "insert into public.user_logins (user_id, masked_device_id, masked_ip, create_date, message_id, batch_id) "
            "values (%s, %s, %s, %s, gen_random_uuid(), 1)",
            [(*login, day) for login in logins],
        )


def seen(warehouse):
    return {view: warehouse.execute(f"select * from login_etl.{view}").fetchall() for view in VIEWS}


def naive(warehouse):
    return {view: warehouse.execute(NAIVE.format(mask=mask)).fetchall() for view, mask in VIEWS.items()}


def standing(warehouse):
    """The revision, and whether anything was ever counted."""
    return warehouse.execute("select revision, counted_at is not null from login_etl.shared_counts").fetchone()


def test_the_counts_and_their_order_are_those_of_the_whole_table(ready):
    chance = random.Random(5)
    users, masks = [*"abcdef", None], [*(f"{number:08x}:{'f' * 64}" for number in range(12)), "", "Ä", "ä", "Z", None]
    for _ in range(5):
        logins = [(chance.choice(users), chance.choice(masks), chance.choice(masks)) for _ in range(60)]
        insert(ready, *logins)
        found = count_shared(ready)
        assert seen(ready) == naive(ready)
        assert found == {
            "devices": len(seen(ready)["shared_devices"]),
            "addresses": len(seen(ready)["shared_addresses"]),
        }
        gone = (chance.choice(users), chance.choice(masks), chance.choice(users))
        ready.execute("delete from public.user_logins where user_id = %s or masked_ip = %s", gone[:2])
        ready.execute("update public.user_logins set masked_device_id = null where user_id = %s", gone[2:])
    assert standing(ready) == (5, True)


def test_only_what_differs_is_written(ready):
    insert(ready, *[(user, device, None) for user in "ab" for device in ("same", "more", "gone")])
    count_shared(ready)
    written = "select mask, xmin::text from login_etl.shared_masks order by mask"
    before = dict(ready.execute(written).fetchall())
    insert(ready, ("a", "more", None), ("a", "new", None), ("b", "new", None))
    ready.execute("delete from public.user_logins where masked_device_id = 'gone'")
    count_shared(ready)
    after = dict(ready.execute(written).fetchall())
    assert list(after) == ["more", "new", "same"]
    assert after["same"] == before["same"]
    assert after["more"] != before["more"]
    assert seen(ready) == naive(ready)


def test_texts_of_an_adopted_table_that_no_index_can_hold_are_no_masks(local, warehouse):
    with local.connect() as owner:
        owner.execute(table(masked_device_id="text") + "; alter table public.user_logins owner to pipeline")
    prepare_warehouse(warehouse)
    random_text = "(select string_agg(md5(number::text), '') from generate_series(1, 1000) as number)"
    for user in "ab":
        warehouse.execute(
            f"insert into public.user_logins (user_id, masked_device_id) values ('{user}', {random_text})"
        )
        insert(warehouse, (user, "d", "i"))
    assert count_shared(warehouse) == {"devices": 1, "addresses": 1}


# What an erasure, another count, or a crash does to one.


def test_a_count_that_was_overtaken_is_not_written_and_begins_again(ready, local, monkeypatch):
    insert(ready, *[(user, "d", "i") for user in "abc"])
    take_turn, overtaken = shared.take_turn, []

    def overtake(connection, turn):
        """Somebody has the merge's turn first, once this count has read the table."""
        if len(overtaken) < most:
            with local.connect(user="pipeline") as other, other.transaction():
                take_turn(other, "login_etl.merge")
                other.execute("update public.user_logins set masked_device_id = null where user_id = 'a'")
                shared.recount_shared(other, [])
            overtaken.append(1)
        take_turn(connection, turn)

    monkeypatch.setattr(shared, "take_turn", overtake)
    most = shared.TRIES
    with pytest.raises(TimeoutError, match="went on during 3 counts: shared masks are as they were"):
        count_shared(ready)
    assert (seen(ready), standing(ready)) == ({"shared_devices": [], "shared_addresses": []}, (3, False))
    most = shared.TRIES + 1
    assert count_shared(ready) == {"devices": 1, "addresses": 1}
    assert seen(ready) == naive(ready) == {"shared_devices": [("d", 2, 2)], "shared_addresses": [("i", 3, 3)]}
    assert standing(ready) == (5, True)


def test_a_count_holds_up_no_merge_until_it_writes(ready, local, monkeypatch):
    take_turn = shared.take_turn

    def somebody_else_first(connection, turn):
        with local.connect(user="pipeline") as other, other.transaction():
            assert other.execute("select pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [turn]).fetchone() == (
                True,
            )
        take_turn(connection, turn)

    monkeypatch.setattr(shared, "take_turn", somebody_else_first)
    assert count_shared(ready) == {"devices": 0, "addresses": 0}


def test_a_count_that_is_killed_leaves_the_last_one(ready, proxies, connected):
    insert(ready, ("a", "d", "i"), ("b", "d", "i"))
    proxies.let(undisturbed := Conversation())
    assert exit_code(proxies.environment, maintenance.count_shared) == 0
    old = seen(ready)
    insert(ready, ("c", "d", "i"))
    writes = [point for point in undisturbed.said if point[0].startswith(("Postgres update", "Postgres with gone"))]
    assert len(writes) == 2
    for point, done in ((writes[0], True), (writes[1], True), (undisturbed.said[-1], False)):
        proxies.let(Conversation(kill_at=point, done=done))
        assert exit_code(proxies.environment, maintenance.count_shared) == -9
        assert seen(ready) == old
    proxies.undisturbed()
    assert maintenance.count_shared() == {"devices": "1 shared", "addresses": "1 shared"}
    assert seen(ready) == naive(ready)


def test_masks_of_a_month_that_is_dropped_do_not_stay(ready):
    for months, device in ((20, "old"), (0, "new")):
        day = month_ago(ready, months)
        make_partition(ready, logins_month(day))
        insert(ready, ("a", device, None), ("b", device, None), day=day)
    count_shared(ready)
    drop_login_months(ready, months=12)
    assert count_shared(ready) == {"devices": 1, "addresses": 0}
    assert seen(ready)["shared_devices"] == [("new", 2, 2)]


def test_a_role_without_temporary_tables_is_told_what_to_grant(ready, local):
    with local.connect() as owner:
        owner.execute("revoke temporary on database warehouse from public, pipeline")
    with pytest.raises(SetupError, match="run, as their owner: grant temporary on database warehouse") as caught:
        count_shared(ready)
    with local.connect() as owner:
        owner.execute(str(caught.value).split("run, as their owner: ")[1].encode())
    count_shared(ready)


def test_a_policy_that_hides_rows_is_an_error_not_fewer_masks(ready):
    ready.execute(
        "alter table public.user_logins enable row level security;"
        "alter table public.user_logins force row level security"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        count_shared(ready)


# The views, in whose place it is.


@pytest.fixture
def before(local, warehouse, tmp_path):
    """A database of before the summary, given the statement that makes its `user_logins`; none: of ours."""
    folder = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    for path in [path for path in folder.glob("*.sql") if path.stem >= "0022"]:
        path.unlink()

    def made(statement=None):
        if statement:
            with local.connect() as owner:
                owner.execute(statement + "; alter table public.user_logins owner to pipeline")
            adopt(warehouse, [each.version for each in read_migrations(folder)])
        migrate(warehouse, folder)
        return warehouse

    return made


@pytest.mark.parametrize(
    "adopted",
    [None, table(), table(masked_ip="text", masked_device_id='varchar(300) collate "C"')],
    ids=["ours", "adopted", "other types"],
)
def test_rights_on_the_views_and_what_depends_on_them_survive_the_migration(local, before, adopted):
    warehouse = before(adopted)
    with local.connect() as owner:
        owner.execute("drop role if exists reader; create role reader")
    warehouse.execute("grant usage on schema login_etl to reader; grant select on login_etl.shared_devices to reader")
    warehouse.execute("create view login_etl.top as select * from login_etl.shared_addresses limit 1")
    columns = warehouse.execute(COLUMNS).fetchall()

    prepare_warehouse(warehouse)
    assert warehouse.execute(COLUMNS).fetchall() == columns
    insert(warehouse, ("a", "d", "i"), ("b", "d", "i"))
    count_shared(warehouse)
    assert warehouse.execute("select * from login_etl.top").fetchall() == [("i", 2, 2)]
    with local.connect() as reader:
        reader.execute("set role reader")
        assert reader.execute("select * from login_etl.shared_devices").fetchall() == [("d", 2, 2)]
        reader.execute("reset role; drop owned by reader; drop role reader")
    # The views keep no type of user_logins from being altered any more.
    warehouse.execute("drop view login_etl.logins; alter table public.user_logins alter column masked_ip type text")


def test_a_view_that_was_dropped_is_made_again(before):
    warehouse = before()
    warehouse.execute("drop view login_etl.shared_devices; drop view login_etl.shared_addresses")
    prepare_warehouse(warehouse)
    count_shared(warehouse)
    assert seen(warehouse) == naive(warehouse)


@pytest.mark.parametrize(
    "theirs",
    [
        "materialized view {} as select masked_device_id, 1 as users from public.user_logins",
        "view {} as select masked_device_id, count(*) as logins from public.user_logins group by masked_device_id",
        "table {} (masked_device_id text)",
    ],
    ids=["materialized", "other columns", "a table"],
)
def test_what_somebody_has_put_in_a_views_place_is_left_alone_and_stops_nothing(before, theirs):
    warehouse = before()
    warehouse.execute("drop view login_etl.shared_devices")
    warehouse.execute("create " + theirs.format("login_etl.shared_devices"))
    columns = warehouse.execute(COLUMNS).fetchall()
    prepare_warehouse(warehouse)
    assert warehouse.execute(COLUMNS).fetchall() == columns
    insert(warehouse, ("a", "d", "i"), ("b", "d", "i"))
    assert count_shared(warehouse) == {"devices": 1, "addresses": 1}
    assert warehouse.execute("select * from login_etl.shared_addresses").fetchall() == [("i", 2, 2)]


def test_the_most_shared_are_read_from_an_index(ready):
    ready.execute(
        "insert into login_etl.shared_masks select 'ip', md5(number::text), number % 100 + 2, number % 1000 "
        "from generate_series(1, 20000) as number; analyze login_etl.shared_masks"
    )
    plan = ready.execute("explain (costs off) select * from login_etl.shared_addresses limit 5").fetchall()
    assert "using shared_masks_by_users" in str(plan)
    assert "Sort" not in str(plan)

import shutil
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from include.failures import SetupError
from include.warehouse.migrations import MIGRATIONS, migrate, pending

NAMES = [path.stem for path in sorted(MIGRATIONS.glob("*.sql"))]


def ledger(warehouse):
    rows = warehouse.execute("select name from login_etl.schema_migrations order by version")
    return [name for (name,) in rows]


def test_a_fresh_database_gets_every_migration_once(warehouse):
    assert migrate(warehouse) == NAMES
    assert ledger(warehouse) == NAMES
    assert migrate(warehouse) == []


def test_a_later_migration_is_applied_to_an_older_database(warehouse, tmp_path):
    folder = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    migrate(warehouse, folder)
    (folder / "9999_later.sql").write_text("create table login_etl.later ()")
    assert [path.stem for path in pending(warehouse, folder)] == ["9999_later"]
    assert migrate(warehouse, folder) == ["9999_later"]


def test_a_migration_that_fails_half_way_leaves_no_trace_and_those_before_it_stay(warehouse, tmp_path):
    folder = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    broken = folder / "9999_broken.sql"
    broken.write_text("create table login_etl.half (); select 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(warehouse, folder)
    assert ledger(warehouse) == NAMES
    assert warehouse.execute("select to_regclass('login_etl.half')").fetchone() == (None,)
    broken.write_text("create table login_etl.half ();")
    assert migrate(warehouse, folder) == ["9999_broken"]


def test_several_at_once_apply_each_migration_once(empty_warehouse):
    def one(_):
        with empty_warehouse.connect(user="pipeline") as connection:
            return migrate(connection)

    with ThreadPoolExecutor(4) as pool:
        applied = [name for names in pool.map(one, range(4)) for name in names]
    assert sorted(applied) == NAMES


def test_a_missing_right_is_one_sentence_about_what_to_do(local, warehouse):
    with local.connect() as owner:
        owner.execute("revoke create on schema public from pipeline")
    with pytest.raises(SetupError, match=r"0004_user_logins.sql was refused \(permission denied for schema public\)"):
        migrate(warehouse)


def test_the_schema_may_be_made_beforehand(local, warehouse):
    with local.connect() as owner:
        owner.execute("revoke create on database warehouse from pipeline")
        owner.execute("create schema login_etl authorization pipeline")
    assert migrate(warehouse) == NAMES


def test_an_index_that_somebody_began_to_make_is_made_anew(warehouse, tmp_path):
    folder = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    later = [path for path in sorted(folder.glob("*.sql")) if path.stem >= "0006"]
    for path in later:
        path.unlink()
    migrate(warehouse, folder)
    warehouse.execute("create unique index user_logins_key on only public.user_logins (create_date, message_id)")
    indexes = """
    select indexrelid::regclass::text, indisvalid from pg_index where indrelid = 'public.user_logins'::regclass
    order by 1
    """
    assert warehouse.execute(indexes).fetchall() == [("user_logins_key", False), ("user_logins_message_key", True)]
    assert migrate(warehouse) == [path.stem for path in later]
    assert warehouse.execute(indexes).fetchall() == [("user_logins_key", True)]

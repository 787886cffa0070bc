import shutil
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from include.failures import SetupError
from include.warehouse.migrations import MIGRATIONS, migrate, pending, read_migrations, warn_of_newer_tables
from include.warehouse.setup import prepare_warehouse

# Databases have them: a file is never edited, a change is a migration of its own, with a line here.
CHECKSUMS = {
    "0001_batches": "d3ac187416dada15e57129077fa77287a52ccb295822e75436dd0d8eb3e7e49b",
    "0002_staging_logins": "63073515caad95f050ee34927eed42e44226f675cf768b4c3aada56362726f05",
    "0003_rejected_messages": "191c65f1b7ef6bc614c73fdc355cce2b3f1559107fa874f65d89e8f4fb725779",
    "0004_user_logins": "19f17cfb229c66c3d3c1ad9b2806b5962907332eddc068ac83c2ba411d4030c3",
    "0005_rejected_replay": "205164290ebf40294bdfe6e693437d3724e15bfd676dcfa944ee6222e13ac194",
    "0006_day_first": "0b98bd990b68f7bd4162f10863a7af1e446307567d33dc007c3622b1e5d84e51",
    "0007_one_key": "a339520fc1ddef28b14a14d4c0f2466a99f6f84ceb3e92c5998364f9638f66bc",
    "0008_checksums": "86c341a490d775389339db0b264b7e32fa732a58e25a36a3b7e2164b4146075f",
    "0009_history_by_source": "d0129916e6c32938f81b8a2bb6cf2f1428e7399700082f03fe8199afb60ab74e",
    "0010_rebuilds": "c297b184bbcd63f17df16befe0541fd147110ad4b1a3371110a08cd4c1adbbb5",
    "0011_refused_rows": "d3af72cb690473a885bdc3b5be9376d109cec6cf76ae6d8c4aca499e05bc211f",
    "0012_identities": "4ab624ac63f1e3c4e236b395cfed83b8d34cabb21362296ce7c1478ff558bf9c",
    "0013_unknown_values": "3ef2c8044f9158ff3c063c3dbe8923d29ac3128212266acfb766b70e8739b3d9",
    "0014_large_bodies": "0ed4c6b52e1743555b776a2f7c01ada0fcecf3f0d79d998f8e0a7bf98af70df6",
    "0015_comments": "d06ae40e53f47b405ca9f3a7f4086bc3d647785f859ccb00fbb123a152a6e79a",
    "0016_masking": "7a47077dc3dfd17c39833045c68489e9b372626e1536d2e93702b31995135048",
    "0017_view_comments": "e8f33af8fdf491bad6fea5b13fb9d9655ebd96ac11d23180c451d4a881fa7d09",
    "0018_logins": "56c0c533c15f9089e924b1b7f723121f7e2c0f3e08c7e379e760d28be92e2bd5",
    "0019_erased_users": "e02fb02e3dee85d99802b9cdb85a0afacefba93686686ea7c94d6cd622da5882",
    "0020_erased_bodies": "550fccb1f46255168f197a6fea60cfc140d08364dab6848cb6432b39b84127c4",
    "0021_queue_depths": "fd53de137fd74115292f449b10e2fe3693ba2ecd81c4aa4add144046751ee71b",
    "0022_shared_masks": "fdeb9797189fa90b31648bb2c3a5168ecfb48758f4da5481f6283f2df12612ad",
    "0023_data_checks": "51b04c0e4c53c7fa9749bc2715046896a9f6639bc4c109a61d47177243661a65",
    "0024_totals": "86574c8619ffb1e7cffa1dd7b7abae90406c6268853b69aabfe701396c999533",
}
NAMES = list(CHECKSUMS)


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
    assert [migration.name for migration in pending(warehouse, read_migrations(folder))] == ["9999_later"]
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


def test_a_missing_right_on_the_ledger_is_one_too(local, warehouse, tmp_path):
    for path in sorted(MIGRATIONS.glob("*.sql"))[:7]:
        shutil.copy(path, tmp_path)
    migrate(warehouse, tmp_path)
    with local.connect() as owner:
        owner.execute("revoke update on login_etl.schema_migrations from pipeline")
    with pytest.raises(SetupError, match=r"0008_checksums.sql was refused \(permission denied for table schema_migr"):
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
    assert warehouse.execute(indexes).fetchall() == [("user_logins_pkey", True)]


def test_no_file_is_edited():
    assert {migration.name: migration.checksum for migration in read_migrations()} == CHECKSUMS


def test_line_ends_of_a_checkout_change_no_checksum(tmp_path):
    for path in MIGRATIONS.glob("*.sql"):
        (tmp_path / path.name).write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert {migration.name: migration.checksum for migration in read_migrations(tmp_path)} == CHECKSUMS


def test_the_ledger_keeps_the_checksums(warehouse):
    migrate(warehouse)
    assert dict(warehouse.execute("select name, sha256 from login_etl.schema_migrations").fetchall()) == CHECKSUMS


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_file_is_refused_in_one_sentence(warehouse, tmp_path, name):
    migrate(warehouse)
    folder = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    changed = folder / f"{name}.sql"
    changed.write_text(changed.read_text() + "-- better\n")
    (folder / "9999_later.sql").write_text("create table login_etl.later ()")
    with pytest.raises(SetupError, match=rf"migration {name}.sql is not the file that .* put the change into a new"):
        migrate(warehouse, folder)
    assert warehouse.execute("select to_regclass('login_etl.later')").fetchone() == (None,)


def test_a_table_made_anew_by_an_old_migration_has_its_checksum_again(warehouse):
    migrate(warehouse)
    warehouse.execute(
        "drop table public.user_logins cascade; delete from login_etl.schema_migrations where version = 4"
    )
    assert migrate(warehouse) == ["0004_user_logins"]
    assert dict(warehouse.execute("select name, sha256 from login_etl.schema_migrations").fetchall()) == CHECKSUMS


def test_code_that_is_older_than_the_tables_says_so_and_works(warehouse, tmp_path, caplog):
    migrate(warehouse)
    warn_of_newer_tables(warehouse)
    assert caplog.text == ""
    folder = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    (folder / "9999_later.sql").write_text("create table login_etl.later ()")
    migrate(warehouse, folder)
    prepare_warehouse(warehouse)
    caplog.clear()
    warn_of_newer_tables(warehouse)
    assert f"its tables have migration 9999, but this code ends at {len(NAMES):04}: newer" in caplog.text

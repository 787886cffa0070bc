"""Schema `privacy`: who may do what, as the real roles; the trail, changed and rewritten; and who may not use it."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest

from include.failures import SetupError
from include.privacy.__main__ import COMMANDS
from include.privacy.erasures import ask_erasure
from include.privacy.install import MIGRATIONS, check_privacy, install, let_analysts_read, script
from include.privacy.originals import make_days
from include.privacy.trail import Anchor, BrokenTrail, head, note, read_anchor, verify
from include.warehouse.migrations import read_migrations
from include.warehouse.setup import prepare_warehouse
from include.warehouse.transactions import transaction
from sandbox.servers import PSQL
from tests.support.postgres_versions import VERSIONS, postgres
from tests.support.privacy import PEOPLE, as_dba, install_privacy, login

PROJECT = Path(__file__).parents[2]
# Databases have them: a file is never edited, a change is a migration of its own, with a line here.
CHECKSUMS = {
    "0001_trail": "b82711215c28d2c55eae9f73d78b23c25a24f7062d04945e5da51d43de8af351",
    "0002_erasures": "48b30185e17b882c2d1b33c872f83d30b38cd500877aaf425c6ba1146d003f09",
    "0003_vault": "295cb4187b974a81591d12a034efc623b72a75f1e70c78ef7a28495c30242d85",
    "0004_disclosure": "248dfb6d255ce140371737b2b8f9e3958ade574d9d7e51370aca5b6b48c868fb",
}
NAMES = list(CHECKSUMS)
COUNTS = {"in_use": "0123abcd", "resealed": 1}


@pytest.fixture
def host(local):
    as_dba(local.postgres)
    assert install_privacy(local.postgres) == NAMES
    with login(local.postgres, "pipeline") as warehouse:
        prepare_warehouse(warehouse)
    return local.postgres


def attempt(connection, query):
    """What becomes of a statement: its rows, `done`, or the name of the error; nothing of it stays."""
    try:
        with connection.transaction(force_rollback=True):
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else "done"
    except psycopg.Error as error:
        return type(error).__name__


DENIED = "InsufficientPrivilege"
NOTE = "select privacy.note('masks under one key', '{\"rows\": 1}')"
ASK = "select privacy.ask_erasure('C-1', 'a user')"
ERASE = "select verdict from privacy.erase(1, '{\"rows\": 1}', now(), '{}')"
ASK_FOR = "select privacy.ask('run', repeat('0', 64), 'ann', 'C-1', 'because', false, '[]')"
DECIDE = "select privacy.decide('run', repeat('0', 64), 'bob', true)"
PIPELINES = [
    ASK_FOR,
    DECIDE,
    "select privacy.make_days(0)",
    "select privacy.expire_originals()",
    "select privacy.end_requests()",
    "insert into privacy.originals values (current_date, 1, gen_random_uuid(), '', null)",
    "insert into privacy.data_keys values (current_date, 1, '0123abcd', '')",
    "select user_id from privacy.accesses",
]
REGISTER = "select privacy.register(sha256('another key'))"
DISCLOSE = "select privacy.disclose(1)"
READ = "select * from privacy.disclosed(1, '0123abcd')"
ACCESS = "select privacy.ask_access('C-1', 'a user')"
REVOKE = "select privacy.revoke(1)"
OFFICERS = [REGISTER, DISCLOSE, READ, ACCESS]
OWNERS = ["select privacy.retire('0123abcd')", "select privacy.change_settings(1, 1)"]
REQUESTS = "select requester, reason, privacy.standing(requests) from privacy.requests"
OPEN = ("settings", "recipients", "schema_migrations")  # whoever is in a role of ours but the analysts' may read them
TABLES = (
    *("audit", "audit_head", "erasures", "schema_migrations", "settings", "recipients", "data_keys", "originals"),
    *("requests", "request_items", "disclosures", "accesses"),
)
CHANGES = [
    *(f"delete from privacy.{table}" for table in TABLES),
    *(f"truncate privacy.{table}" for table in TABLES),
    *(f"drop table privacy.{table}" for table in TABLES),
    *(f"alter table privacy.{table} add column more text" for table in TABLES),
    "update privacy.audit set entry = '{}'",
    "update privacy.audit_head set seq = 0",
    "update privacy.erasures set user_id = 'another'",
    "update privacy.settings set keep_originals_days = 1",
    "update privacy.recipients set retired_at = now()",
    "update privacy.requests set approved = true",
    "update privacy.accesses set user_id = 'another'",
    "insert into privacy.recipients values ('0123abcd', sha256('another key'), 'me')",
    "insert into privacy.requests (run_id) values ('a run')",
    "insert into privacy.disclosures (request_id, officer) values (1, 'olga')",
    "insert into privacy.audit values (1, '{}', '')",
    "insert into privacy.erasures (case_number, user_id, asked_by) values ('C', 'u', 'me')",
    "drop schema privacy cascade",
    "create table privacy.mine ()",
    "create or replace function privacy.append(event text, details jsonb) returns void language sql as ''",
    "select privacy.append('made up', '{}')",
    "grant privacy_owner to current_user",
    "set role privacy_owner",
    "set session_replication_role = replica",
]
READS = {table: f"select count(*) from privacy.{table}" for table in TABLES}
SECRET = [READS[table] for table in ("data_keys", "originals", "request_items")]
WHO = "select user_id from privacy.erasures"
CASES = "select case_number, counts from privacy.erasures"
LOGINS = "select count(*) from login_etl.logins"
BEHIND = [
    "select count(*) from public.user_logins",
    "select count(*) from login_etl.staging_logins",
    "select count(*) from login_etl.rejected_messages",
    "select count(*) from login_etl.erased_users",
    "select count(*) from login_etl.masking",
    "delete from login_etl.logins",
]
NOUGHT = [(0,)]
# Of today's partition, and of a key that nobody registered.
PIPELINES_GET = [
    *([("asked",)], [("no such request",)], [(0,)], NOUGHT, NOUGHT),
    *("done", "ForeignKeyViolation", []),
]
RIGHTS = [
    *(("pipeline", query, DENIED) for query in (*CHANGES, *SECRET, *OFFICERS, *OWNERS, REVOKE, REQUESTS)),
    ("pipeline", READS["audit"], DENIED),
    ("pipeline", READS["disclosures"], DENIED),
    ("pipeline", READS["audit_head"], [(1,)]),
    ("pipeline", READS["erasures"], NOUGHT),
    ("pipeline", WHO, []),
    ("pipeline", NOTE, [("noted",)]),
    ("pipeline", ASK, DENIED),
    ("pipeline", ERASE, [("not in the queue",)]),
    *(("pipeline", query, found) for query, found in zip(PIPELINES, PIPELINES_GET, strict=True)),
    *(
        ("olga", query, DENIED)
        for query in (*CHANGES, *BEHIND, *SECRET, *PIPELINES, *OWNERS, NOTE, ERASE, WHO, READS["audit"], LOGINS)
    ),
    ("olga", READS["disclosures"], DENIED),
    ("olga", ASK, [("queued",)]),
    ("olga", CASES, []),
    ("olga", REQUESTS, []),
    ("olga", REGISTER, [("registered",)]),
    ("olga", DISCLOSE, [("no such request",)]),
    ("olga", READ, []),
    ("olga", ACCESS, [("noted",)]),
    ("olga", REVOKE, [("no such request",)]),
    *(
        ("uwe", query, DENIED)
        for query in (*CHANGES, *BEHIND, *SECRET, *PIPELINES, *OFFICERS, *OWNERS, NOTE, ASK, ERASE, WHO, LOGINS)
    ),
    ("uwe", READS["audit"], NOUGHT),
    ("uwe", READS["audit_head"], [(1,)]),
    ("uwe", READS["disclosures"], NOUGHT),
    ("uwe", CASES, []),
    ("uwe", REQUESTS, []),
    ("uwe", REVOKE, [("no such request",)]),
    *(
        (who, query, DENIED)
        for who in ("ann", "stranger")
        for query in (*CHANGES, *BEHIND, *PIPELINES, *OFFICERS, *OWNERS, NOTE, ASK, ERASE, WHO, CASES, *READS.values())
    ),
    ("ann", LOGINS, NOUGHT),
    ("stranger", LOGINS, DENIED),
    # The DBA owns nothing of it, but could make himself a member of the owner: only an anchor shows that.
    *(
        ("dba", query, DENIED)
        for query in (*CHANGES[:-3], *PIPELINES, *OFFICERS, *OWNERS, NOTE, ASK, ERASE, WHO, *READS.values())
    ),
    ("dba", "grant privacy_owner to current_user", "done"),
]


def check_rights(host):
    """Each statement as each role has the verdict of the table."""
    found = []
    for role in ("pipeline", *PEOPLE, "stranger", "dba"):
        with login(host, role) as connection:
            found += [(role, query, attempt(connection, query)) for who, query, _ in RIGHTS if who == role]
    found, expected = set(map(str, found)), set(map(str, RIGHTS))
    assert sorted(found - expected) == sorted(expected - found) == []


def test_who_may_do_what(host):
    with login(host, "pipeline") as warehouse:
        let = "select has_table_privilege('privacy_analyst', 'login_etl.logins', 'select')"
        assert warehouse.execute(let).fetchone() == (False,)  # this DBA does not own the view
        let_analysts_read(warehouse)
        assert warehouse.execute(let).fetchone() == (True,)
        make_days(warehouse)
    check_rights(host)


@pytest.mark.parametrize("version", VERSIONS)
def test_who_may_do_what_in_an_older_postgres(version):
    with postgres(version) as host:
        as_dba(host)
        install_privacy(host)
        with login(host, "pipeline") as warehouse:
            prepare_warehouse(warehouse)
            make_days(warehouse)
            let_analysts_read(warehouse)
        check_rights(host)


def test_an_owner_of_the_view_lets_analysts_read_when_it_installs(local):
    as_dba(local.postgres)
    with login(local.postgres, "pipeline") as warehouse:
        prepare_warehouse(warehouse)
    with local.connect() as owner:
        install(owner, login="pipeline")
        let = "select has_table_privilege('privacy_analyst', 'login_etl.logins', 'select')"
        assert owner.execute(let).fetchone() == (True,)


def test_no_file_is_edited():
    assert {migration.name: migration.checksum for migration in read_migrations(MIGRATIONS)} == CHECKSUMS


def test_it_is_installed_once_and_what_is_printed_is_the_same(local, host):
    everything = """
    select relname, attname, atttypid::regtype::text, attnotnull, relacl::text, attacl::text,
        obj_description(pg_class.oid), col_description(pg_class.oid, attnum)
    from pg_class inner join pg_attribute on attrelid = pg_class.oid
    where relnamespace = 'privacy'::regnamespace and attnum > 0
    union all
    select proname, prosrc, prorettype::regtype::text, prosecdef, proacl::text, proconfig::text, '', ''
    from pg_proc where pronamespace = 'privacy'::regnamespace
    order by 1, 2
    """
    with login(host, "dba") as dba:
        assert install(dba, login="pipeline") == []
        installed = dba.execute(everything).fetchall()
        members = "select count(*) from pg_auth_members where roleid = 'privacy_owner'::regrole and set_option"
        assert dba.execute(members).fetchone() == (0,)
    assert {comment for *_, comment in installed} >= {"Number, without gaps"}
    assert all(comment is not None for *_, comment in installed if "audit" in _[0] and not _[0].endswith("pkey"))
    as_dba(host)
    environment = os.environ | local.libpq_environment("dba")
    command = [PSQL, "--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1"]
    subprocess.run(command, input=script(login="pipeline"), env=environment, check=True, text=True)
    with login(host, "dba") as dba:
        assert install(dba, login="pipeline") == []
        assert dba.execute(everything).fetchall() == installed


def test_who_cannot_install_it_is_told_why(local, host):
    with login(host, "pipeline") as warehouse:
        with pytest.raises(SetupError, match="is the pipeline's own login, which must not own the trail"):
            install(warehouse, login="pipeline")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            install(warehouse, login="olga")
    with login(host, "dba") as dba, pytest.raises(SetupError, match="there is no role nobody_here: give the login"):
        install(dba, login="nobody_here")


def test_who_cannot_use_it_is_told_why_in_one_sentence(local, warehouse):
    def fault(connection):
        with pytest.raises(SetupError, match=r"^connection warehouse: erasure needs") as caught:
            check_privacy(connection, needed_by="erasure")
        return str(caught.value).removeprefix("connection warehouse: erasure needs schema privacy: ")

    assert fault(warehouse) == (
        "it is not installed: let a DBA run: python -m include.privacy install --login pipeline"
    )
    as_dba(local.postgres)
    install_privacy(local.postgres)
    with local.connect() as superuser:
        assert fault(superuser).startswith("postgres is a superuser, who could rewrite the trail: use a role with")
        with login(local.postgres, "stranger") as stranger:
            assert fault(stranger).endswith("install --login stranger")
        with login(local.postgres, "pipeline") as pipeline:
            check_privacy(pipeline, needed_by="erasure")
            superuser.execute("grant privacy_owner to pipeline")
            assert fault(pipeline) == "pipeline is a member of its owner: run: revoke privacy_owner from pipeline"
            superuser.execute("revoke privacy_owner from pipeline")
            superuser.execute("delete from privacy.schema_migrations where version = 2")
            assert fault(pipeline).startswith("it lacks 0002_erasures: let a DBA run")
            superuser.execute("update privacy.schema_migrations set sha256 = 'x'")
            with pytest.raises(SetupError, match=r"0001_trail.sql is not the file that this database was set up with"):
                check_privacy(pipeline, needed_by="erasure")


SHADOWS = """
create function public.{name} returns {returns} language plpgsql as $$
begin
    execute 'create table public.was_here as select current_user';
    return null;
end $$;
grant execute on function public.{name} to public
"""


@pytest.mark.parametrize(
    ("name", "returns"),
    [
        ("hashtextextended(text, integer)", "bigint"),
        ("format(text, text)", "text"),
        ("to_regclass(varchar)", "regclass"),
    ],
)
def test_functions_that_look_like_those_of_postgres_are_not_called(local, name, returns):
    """The pipeline may make some in public; who installs, or asks, must not run them."""
    as_dba(local.postgres)
    with login(local.postgres, "pipeline") as pipeline:
        pipeline.execute(SHADOWS.format(name=name, returns=returns).encode())
    install_privacy(local.postgres)
    assert run(local, "olga", "erase", "--case", "C-1", given="a user")[0] == 0
    assert run(local, "uwe", "verify")[0] == 0
    with local.connect() as superuser:
        assert superuser.execute("select to_regclass('public.was_here')::text").fetchone() == (None,)
        superuser.execute("drop schema privacy cascade")
    with login(local.postgres, "dba") as dba:
        dba.execute(script(login="pipeline"))
    with local.connect() as superuser:
        assert superuser.execute("select to_regclass('public.was_here')::text").fetchone() == (None,)


@pytest.mark.parametrize(
    ("before", "fault"),
    [
        ("create schema privacy authorization pipeline", "schema privacy is there, and not all of it belongs to"),
        ("create role privacy_owner login", "privacy_owner was there with other attributes: alter role privacy_owner"),
        (
            "create role privacy_owner; grant privacy_owner to stranger",
            "privacy_owner has members, who could rewrite the trail: revoke privacy_owner from stranger",
        ),
    ],
)
def test_what_is_there_and_not_ours_is_refused_in_one_sentence(local, before, fault):
    as_dba(local.postgres)
    with local.connect() as superuser:
        superuser.execute(before.encode())
    code, said = run(local, "postgres", "install")
    assert (code, said.startswith(fault)) == (1, True), said


def test_a_foreign_schema_is_not_taken_for_it(local):
    as_dba(local.postgres)
    with login(local.postgres, "pipeline") as pipeline:
        pipeline.execute("create schema privacy; create table privacy.schema_migrations (version int, name text)")
        with pytest.raises(SetupError, match="it is not installed: let a DBA run"):
            check_privacy(pipeline, needed_by="erasure")


def test_a_login_that_may_create_roles_is_refused(local, host):
    with local.connect() as superuser:
        superuser.execute("alter role pipeline createrole")
        try:
            with login(host, "pipeline") as pipeline, pytest.raises(SetupError, match="alter role pipeline nocreater"):
                check_privacy(pipeline, needed_by="erasure")
        finally:
            superuser.execute("alter role pipeline nocreaterole")


def test_without_it_a_note_is_only_logged(warehouse, caplog):
    caplog.set_level("INFO")
    with transaction(warehouse):
        note(warehouse, "masks under one key", COUNTS)
    assert "masks under one key: {'in_use': '0123abcd', 'resealed': 1}; this log is the only trail" in caplog.text


def entries(connection):
    return [json.loads(entry) for (entry,) in connection.execute("select entry from privacy.audit order by seq")]


def test_refusals_are_in_the_trail_and_nothing_personal_is(host):
    with login(host, "olga") as officer:
        assert ask_erasure(officer, case_number="C-1", user_id="424cdd21") == "queued"
        assert ask_erasure(officer, case_number="C-2", user_id="424cdd21") == "already queued, now as C-1, C-2"
        assert ask_erasure(officer, case_number="a\nb", user_id="424cdd21") == "not a case number"
        assert ask_erasure(officer, case_number="C-3", user_id="u" * 129) == "not a user id"
    with login(host, "pipeline") as warehouse:
        for counts in (
            {"user": 1},
            {"rows": "192.0.2.1"},
            {"rows": -1},
            {"rows": [1]},
            {"rows": None},
            {"rows": 10**16},
            {"rows": 0.5},
            {"in_use": "0123abcd\n"},
            [],
            "x",
            None,
        ):
            for call in (
                "select privacy.note('masks under one key', %s)",
                "select verdict from privacy.erase(1, %s, now(), '{}')",
            ):
                [(verdict,)] = warehouse.execute(call, [json.dumps(counts)]).fetchall()
                assert verdict in ("not a note", "not counts")
        assert warehouse.execute("select privacy.note('erased', '{}')").fetchone() == ("not a note",)
        assert warehouse.execute("select privacy.note(null, null)").fetchone() == ("not a note",)
        note(warehouse, "masks under one key", COUNTS)
        erase = "select verdict, originals from privacy.erase(1, '{\"user_logins\": 2}', now(), '{}')"
        assert warehouse.execute(erase).fetchone() == ("erased", 0)
        assert warehouse.execute(erase).fetchone() == ("not in the queue", 0)
        assert warehouse.execute(WHO).fetchall() == [(None,)]
    with login(host, "uwe") as auditor:
        trail = entries(auditor)
        assert verify(auditor) == head(auditor)
        assert auditor.execute("select counts from privacy.erasures").fetchall() == [
            ({"originals": 0, "user_logins": 2},)
        ]
    assert [(entry["by"], entry["event"]) for entry in trail[:4]] == [
        ("olga", "erasure asked"),
        ("olga", "erasure asked again"),
        ("olga", "erasure refused"),
        ("olga", "erasure refused"),
    ]
    assert [entry["event"] for entry in trail[4:28]] == ["note refused"] * 24
    assert [entry["event"] for entry in trail[28:]] == ["masks under one key", "erased", "note refused"]
    assert trail[29]["details"] == {"case": "C-1, C-2", "counts": {"originals": 0, "user_logins": 2}, "erasure": 1}
    assert not any(value in json.dumps(trail) for value in ("424cdd21", "192.0.2.1", "uuu"))
    assert {tuple(sorted(entry)) for entry in trail} == {("at", "by", "details", "event")}


BACK = "update privacy.audit_head set (seq, hash) = (select seq, hash from privacy.audit where seq = 20)"


@pytest.fixture
def written(host):
    """A trail of twenty entries, of several at once, some of whom roll back; a connection as a superuser."""

    def write(number):
        with login(host, "pipeline") as warehouse:
            for step in range(5):
                with warehouse.transaction(force_rollback=step % 2 == 1):
                    note(warehouse, "masks under one key", COUNTS | {"rows": number * 10 + step})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    with login(host, "postgres") as superuser:
        yield superuser


def test_several_at_once_leave_no_gap_and_no_fork(written):
    assert verify(written).seq == 24
    assert {entry["details"]["rows"] for entry in entries(written)} == {
        number * 10 + step for number in range(8) for step in (0, 2, 4)
    }


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("update privacy.audit set entry = replace(entry, 'rows', 'sowr') where seq = 5", "broken at 5: the entry is"),
        ("update privacy.audit set hash = sha256(hash) where seq = 5", "broken at 5: the entry is not the one"),
        ("delete from privacy.audit where seq = 5", "broken at 5: there is no such entry"),
        ("delete from privacy.audit where seq = 1", "broken at 1: there is no such entry"),
        ("delete from privacy.audit where seq = 24", "broken at 24: the trail ends there, but its head is 24:"),
        ("update privacy.audit_head set hash = sha256(hash)", "broken at 25: the trail ends there"),
        ("update privacy.audit_head set seq = 23", "entry 24, which was anchored, is gone: the trail ends at 23"),
        (
            f"delete from privacy.audit where seq > 20; {BACK}",
            "entry 24, which was anchored, is gone: the trail ends at 20",
        ),
    ],
)
def test_a_change_is_found(written, change, found):
    anchor = head(written)
    assert verify(written, [anchor, Anchor(0, "00" * 32)]) == anchor
    written.execute(change)
    with pytest.raises(BrokenTrail, match=found):
        verify(written, [anchor])


def test_a_trail_that_was_computed_anew_is_found_by_an_anchor_only(written):
    first = Anchor(1, written.execute("select encode(hash, 'hex') from privacy.audit where seq = 1").fetchone()[0])
    anchor = head(written)
    previous = bytes(32)
    for seq, entry in written.execute("select seq, entry from privacy.audit order by seq").fetchall():
        made_up = entry.replace("rows", "sowr") if seq > 1 else entry
        previous = sha256(previous + f"{seq} {made_up}".encode()).digest()
        written.execute("update privacy.audit set entry = %s, hash = %s where seq = %s", [made_up, previous, seq])
    written.execute("update privacy.audit_head set hash = %s", [previous])
    assert verify(written, [first]).seq == 24
    with pytest.raises(BrokenTrail, match="entry 24 is not the one that was anchored: the trail was rewritten"):
        verify(written, [first, anchor])
    assert read_anchor(f" {anchor}\n") == anchor
    for text in ("", "24", f"{anchor}0", "-1:" + "0" * 64, str(anchor).replace(":", "-")):
        with pytest.raises(SetupError, match="an anchor is a number, a colon, and 64 hex digits"):
            read_anchor(text)


def test_who_keeps_the_head_locked_is_not_waited_for_long(host):
    with login(host, "postgres") as superuser, login(host, "pipeline") as warehouse, superuser.transaction():
        superuser.execute("select from privacy.audit_head for update")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            note(warehouse, "masks under one key", COUNTS)


def run(local, user, *arguments, given=""):
    command = [sys.executable, "-m", "include.privacy", *arguments]
    environment = os.environ | local.libpq_environment(user)
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, input=given, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, (done.stdout + done.stderr).strip()


MEMBERS = ["privacy_analyst: ann", "privacy_auditor: uwe", "privacy_officer: olga", "privacy_pipeline: pipeline"]


def test_the_command_line(local, host):
    code, said = run(local, "dba", "install")
    assert (code, said.splitlines()) == (0, ["schema privacy: nothing new", *MEMBERS])
    assert run(local, "dba", "install", "--print") == (0, script(login="pipeline"))
    code, said = run(local, "pipeline", "install", "--login", "stranger")
    assert (code, said) == (1, 'permission denied to grant role "privacy_owner": ' + COMMANDS["install"].who)
    code, said = run(local, "olga", "erase", "--case", "C-1", given="a user\r\nanother\n\na user\n")
    assert (code, said.splitlines()[0]) == (0, "queued: 2")
    assert run(local, "olga", "erase", "--case", "a b", given="u\n") == (1, "not a case number: 1")
    assert run(local, "olga", "erase", "--case", "C-1") == (1, "no user id was given")
    assert run(local, "uwe", "erase", "--case", "C-1", given="u") == (
        1,
        "permission denied for function ask_erasure: it takes a login in privacy_officer",
    )
    code, said = run(local, "uwe", "verify")
    assert (code, said.splitlines()[0]) == (0, "whole: database warehouse, 4 entries, each as it was written")
    anchor = said.splitlines()[2].removeprefix("anchor: ")
    assert run(local, "uwe", "verify", "--anchor", anchor)[0] == 0
    assert run(local, "uwe", "verify", "--anchor", anchor, "--anchor", "1:" + "0" * 64) == (
        1,
        "entry 1 is not the one that was anchored: the trail was rewritten, or the anchor is not its own",
    )
    assert run(local, "ann", "verify") == (
        1,
        "permission denied for schema privacy: it takes a login in privacy_auditor",
    )
    with login(host, "pipeline") as warehouse:
        assert warehouse.execute("select user_id from privacy.erasures order by 1").fetchall() == [
            ("a user",),
            ("another",),
        ]


def test_without_the_schema_the_command_line_says_so(local, warehouse):
    for command in (["verify"], ["erase", "--case", "C"]):
        code, said = run(local, "pipeline", *command, given="u")
        assert code == 1
        assert said == (
            "schema privacy is not installed in this database, or is older than this program: let a DBA run: "
            "python -m include.privacy install"
        )


@pytest.mark.parametrize(
    ("given", "waiting"),
    [
        (b"\xef\xbb\xbfwith a mark\r\n", ["with a mark"]),
        ("one\u2028line\x85\n another ".encode(), ["another", "one\u2028line"]),
        ("jos\u00e9".encode("latin-1"), None),
    ],
)
def test_user_ids_are_lines_of_utf_8(local, host, given, waiting):
    command = [sys.executable, "-m", "include.privacy", "erase", "--case", "C-1"]
    environment = os.environ | local.libpq_environment("olga")
    done = subprocess.run(command, cwd=PROJECT, env=environment, input=given, capture_output=True, check=False)
    with login(host, "pipeline") as pipeline:
        found = [user for (user,) in pipeline.execute("select user_id from privacy.erasures order by 1")]
    if waiting is None:
        assert done.returncode == 1
        assert done.stderr == b"a user id is not in UTF-8: nothing of it, or behind it, is asked for\n"
    assert found == (waiting or [])


def test_a_user_id_is_no_case_number(host):
    with login(host, "olga") as officer:
        assert ask_erasure(officer, case_number="eva-1234", user_id="eva-1234") == "a user id as case number"
    with login(host, "uwe") as auditor:
        assert "eva" not in str(entries(auditor))


def test_two_anchors_of_one_number_are_both_checked(written):
    anchor = head(written)
    with pytest.raises(BrokenTrail, match="entry 24 is not the one that was anchored"):
        verify(written, [Anchor(24, "00" * 32), anchor])

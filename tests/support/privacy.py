"""Schema `privacy`, installed as a DBA would who is no superuser, and the people who use it."""

from collections import defaultdict
from contextlib import contextmanager

import psycopg
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from include.privacy.install import install
from include.privacy.keys import public_bytes
from include.privacy.originals import register_recipient
from include.privacy.vault import key_id_of, open_data_key
from include.warehouse.setup import prepare_warehouse
from sandbox.servers import RIGHTS

ROLES = ("privacy_owner", "privacy_pipeline", "privacy_officer", "privacy_auditor", "privacy_analyst")
PEOPLE = {"olga": "privacy_officer", "uwe": "privacy_auditor", "ann": "privacy_analyst"}
OTHERS = ("dba", "stranger")
FIELDS = ("ip", "device_id")


def as_dba(host):
    """A database `warehouse`, and a DBA who may create roles, and schemas there, and nothing more."""
    with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as owner:
        owner.execute("drop database if exists warehouse with (force)")
        owner.execute("create database warehouse")
        for role in (*ROLES, *PEOPLE, *OTHERS):  # what the DBA granted goes first
            owner.execute(f"drop role if exists {role}")
        if not owner.execute("select from pg_roles where rolname = 'pipeline'").rowcount:
            owner.execute("create role pipeline login")
        owner.execute("create role dba login createrole; grant create on database warehouse to dba")
        owner.execute("create role stranger login")
    with psycopg.connect(host=host, user="postgres", dbname="warehouse", autocommit=True) as owner:
        owner.execute(RIGHTS.read_bytes())


def install_privacy(host):
    """Install the schema as the DBA, and make the people."""
    with login(host, "dba") as dba:
        applied = install(dba, login="pipeline")
        for person, role in PEOPLE.items():
            dba.execute(f"create role {person} login")
            dba.execute(f"grant {role} to {person}")
    return applied


@contextmanager
def prepared_warehouse(host):
    """A fresh warehouse with schema privacy, ready for a run; a connection to it as the pipeline has it."""
    as_dba(host)
    install_privacy(host)
    with login(host, "pipeline") as warehouse:
        warehouse.prepare_threshold = None
        prepare_warehouse(warehouse)
        yield warehouse


def login(host, user):
    return psycopg.connect(host=host, user=user, dbname="warehouse", autocommit=True)


def recipient(host):
    """A private key whose public key an officer has registered."""
    private_key = X25519PrivateKey.generate()
    with login(host, "olga") as officer:
        assert register_recipient(officer, public_bytes(private_key)) == "registered"
    return private_key


def originals(connection, private_key):
    """Message → what is kept of it, opened as somebody would who has both the database and the key; as a superuser."""
    query = (
        "select message_id, batch_id, sealed_key, sealed_ip, sealed_device_id from privacy.originals "
        "inner join privacy.data_keys using (staged_on, batch_id) where key_id = %s"
    )
    found = defaultdict(list)
    for message_id, batch_id, sealed_key, *sealed in connection.execute(query, [key_id_of(public_bytes(private_key))]):
        key = open_data_key(sealed_key, private_key, batch_id=batch_id)
        values = (key.open(each, field=name, message_id=message_id) for each, name in zip(sealed, FIELDS, strict=True))
        found[message_id].append(tuple(values))
    return dict(found)

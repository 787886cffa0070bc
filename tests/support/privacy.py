"""Schema `privacy`, installed as a DBA would who is no superuser, and the people who use it."""

import psycopg

from include.privacy.install import install
from sandbox.servers import RIGHTS

ROLES = ("privacy_owner", "privacy_pipeline", "privacy_officer", "privacy_auditor", "privacy_analyst")
PEOPLE = {"olga": "privacy_officer", "uwe": "privacy_auditor", "ann": "privacy_analyst"}
OTHERS = ("dba", "stranger")


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


def login(host, user):
    return psycopg.connect(host=host, user=user, dbname="warehouse", autocommit=True)

"""The database `warehouse`, as nobody has used it yet."""

from sandbox.servers import RIGHTS


def make_empty(local):
    """Make it anew, with nothing in it but the rights that the pipeline's role needs."""
    with local.connect("postgres") as connection:
        connection.execute("drop database if exists warehouse with (force)")
        connection.execute("create database warehouse")
    with local.connect() as connection:
        connection.execute(RIGHTS.read_bytes())

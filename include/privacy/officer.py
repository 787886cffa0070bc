"""The commands of `python -m include.privacy` for an officer, who holds the private key."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import psycopg
from tabulate import tabulate

from include.failures import SetupError
from include.privacy import requests
from include.privacy.erasures import ask_erasure
from include.privacy.keys import make_key_file, make_passphrase, public_bytes, read_private_key
from include.privacy.originals import register_recipient
from include.privacy.requests import Asked, ask_access
from include.privacy.reveal import announce, check_key, find, reveal, table
from include.privacy.terminal import confirm, passphrase, printable, read_key, require_terminal, user_ids
from include.privacy.vault import DataKey, key_id_of, open_data_key

WELL = ("queued", "already queued")


def keygen(arguments: argparse.Namespace) -> None:
    """Make a private key in a new file, and show its passphrase, once."""
    require_terminal("the passphrase")
    words = make_passphrase()
    private_key = make_key_file(Path(arguments.file), words)
    print(f"{arguments.file}: private key {key_id_of(public_bytes(private_key))}")
    print(f"passphrase: {words}")
    print("Write it down now, apart from the file: it is not shown again, and nothing opens the key without it.")


def register(arguments: argparse.Namespace, connection: psycopg.Connection) -> None:
    """Let originals be sealed to a key from now on; its file is opened, to prove that it can be."""
    private_key = read_private_key(read_key(arguments.file), passphrase)
    public_key = public_bytes(private_key)
    open_data_key(DataKey().sealed_to(public_key, batch_id=0), private_key, batch_id=0)
    verdict = register_recipient(connection, public_key)
    if verdict not in ("registered", "already registered"):
        raise SetupError(f"key {key_id_of(public_key)} is not registered: {verdict}: make another one with keygen")
    print(f"key {key_id_of(public_key)}: {verdict}; originals are sealed to it from the next batch on")


def erase(arguments: argparse.Namespace, connection: psycopg.Connection) -> None:
    """Ask for people to be forgotten, whose user ids are read from the terminal or from stdin, one a line."""
    verdicts: Counter[str] = Counter()
    try:
        for user_id in user_ids():
            verdicts[ask_erasure(connection, case_number=arguments.case, user_id=user_id)] += 1
    finally:  # what is queued before something is wrong stays queued
        for verdict, number in verdicts.items():
            print(f"{verdict}: {number}")
    if not verdicts:
        raise SetupError("no user id was given")
    if not all(verdict.startswith(WELL) for verdict in verdicts):
        sys.exit(1)
    print("the DAG erase_users forgets them: trigger it, first as the dry run that it is by default")


def access(arguments: argparse.Namespace, connection: psycopg.Connection) -> None:
    """Note which person asks what is held about them; the user id is read from the terminal or from stdin."""
    people = list(user_ids())
    if len(people) != 1:
        raise SetupError(f"a case is about one person: {len(people)} user ids were given")
    verdict = ask_access(connection, case_number=arguments.case, user_id=people[0])
    if verdict != "noted":
        raise SetupError(f"{verdict}: nothing is noted")
    print(f"noted; trigger disclose_pii with case {arguments.case} and a reason, and no masks")


def list_requests(_: argparse.Namespace, connection: psycopg.Connection) -> None:
    """List what was asked for, and how it stands."""
    headers = ["request", "case", "for", "asked by", "approved by", "stands", "until", "because"]
    rows = [
        [
            each.request_id,
            each.case_number,
            _about(each),
            printable(each.requester),
            printable(each.approver or ""),
            each.standing,
            f"{each.valid_until:%Y-%m-%d %H:%M %Z}" if each.valid_until else "",
            printable(each.reason or ""),
        ]
        for each in requests.requests(connection)
    ]
    print(tabulate(rows, headers, disable_numparse=True) if rows else "no request: the DAG disclose_pii asks")


def reveal_request(arguments: argparse.Namespace, connection: psycopg.Connection) -> None:
    """Show the originals that a request was granted for, on this terminal; each time is in the trail."""
    require_terminal("an original")
    request = find(connection, arguments.request)
    print(_described(request))
    if request.standing != "granted":
        announce(connection, request.request_id)  # which refuses it, and records that
    private_key = read_private_key(read_key(arguments.key), passphrase)
    key_id = check_key(connection, private_key)
    if not confirm("Show them? The trail will have it."):
        raise SetupError("nothing was read")
    items = reveal(connection, request.request_id, private_key, key_id=key_id)
    print(table(request, items))
    if missing := request.items - len(items):
        print(f"erased since it was asked for: {missing} of {request.items}")
    print("Clear this terminal, and what it has scrolled by, when you are done.")


def revoke(arguments: argparse.Namespace, connection: psycopg.Connection) -> None:
    """End a grant, or a request that nobody has decided."""
    verdict = requests.revoke(connection, arguments.request)
    if verdict != "revoked":
        raise SetupError(f"request {arguments.request} is not revoked: {verdict}")
    print(f"request {arguments.request}: revoked")


def _about(request: Asked) -> str:
    return f"a person's rows: {request.items}" if request.is_access else f"masks: {request.items}"


def _described(request: Asked) -> str:
    lines = [
        ("request", f"{request.request_id}, {request.standing}"),
        ("case", request.case_number),
        ("for", _about(request)),
        ("asked by", f"{request.requester}, {request.asked_at:%Y-%m-%d %H:%M %Z}"),
        ("approved by", request.approver or "nobody"),
        ("because", request.reason or ""),
    ]
    return "\n".join(f"{name:<12}{printable(text)}" for name, text in lines)

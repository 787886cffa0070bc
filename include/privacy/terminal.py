"""What a person at a terminal types and sees, also while stdin hands over a key."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from getpass import getpass
from pathlib import Path

from include.failures import SetupError

TERMINAL = Path("/dev/tty")


def require_terminal(why: str) -> None:
    """Raise SetupError where what is printed does not go to a terminal."""
    if not sys.stdout.isatty():
        raise SetupError(f"{why} is shown on a terminal only: run it in one, without a pipe or a file behind it")


def confirm(question: str) -> bool:
    """Whether a person types `yes`."""
    try:
        with TERMINAL.open("w") as shown, TERMINAL.open() as typed:
            shown.write(f"{question} [yes/no] ")
            shown.flush()
            return typed.readline().strip().lower() == "yes"
    except UnicodeError:
        return False
    except OSError:
        raise SetupError("there is no terminal to ask at: run it in one") from None


def passphrase() -> str:
    """A passphrase, which is not shown."""
    try:
        with TERMINAL.open():  # else getpass would read it from stdin, and show it
            return getpass("passphrase of the key: ")
    except OSError:
        raise SetupError("there is no terminal to ask for the passphrase at: run it in one") from None
    except (EOFError, UnicodeError):
        raise SetupError("no passphrase was typed") from None


def read_key(name: str) -> bytes:
    """The bytes of a key file, or of stdin for `-`; SetupError where it cannot be read."""
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise SetupError(f"{name} cannot be read: {error.strerror}") from None


def user_ids() -> Iterator[str]:
    """What is typed until an empty line, or the lines of stdin that are not empty. Others can see arguments."""
    try:
        yield from map(_checked, _lines())
    except UnicodeError:
        raise SetupError("a user id is not in UTF-8: nothing of it, or behind it, is asked for") from None


def printable(text: object) -> str:
    """A text that a client has sent, without what a terminal would obey: escapes stand there as Python writes them."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in str(text)
    )


def _checked(user_id: str) -> str:
    user_id.encode()
    return user_id


def _lines() -> Iterator[str]:
    if sys.stdin.isatty():
        with suppress(EOFError):
            while user_id := input("user id (an empty line ends): ").strip():
                yield user_id
    else:
        lines = sys.stdin.buffer.read().decode("utf-8-sig").split("\n")
        yield from filter(None, map(str.strip, lines))

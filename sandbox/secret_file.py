"""Secrets that are made when they are first asked for, and stay."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def random_secret() -> str:
    """32 random bytes, in base64url without padding."""
    return secrets.token_urlsafe(32)


def secret_file(path: Path, make: Callable[[], str] = random_secret) -> str:
    """What the file holds, and where there is none, what `make` returns. Only its owner can read it."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")  # a start that is broken off must leave no empty secret
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        with part.open("w") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    return path.read_text()

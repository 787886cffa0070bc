"""Key files of officers: an X25519 private key as PEM (PKCS #8), under a passphrase that is made, not chosen.

Made, because the file's own key derivation, PBKDF2 with 2,048 rounds, would not protect one that people think of.
"""

from __future__ import annotations

import base64
import os
import secrets
import textwrap
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from include.failures import SetupError

PASSPHRASE_BYTES = 16


def make_passphrase() -> str:
    """128 random bits as 26 letters and digits, in groups: abcde-fghij-…"""
    text = base64.b32encode(secrets.token_bytes(PASSPHRASE_BYTES)).decode().rstrip("=").lower()
    return "-".join(textwrap.wrap(text, 5))


def make_key_file(path: Path, passphrase: str) -> X25519PrivateKey:
    """Write a new key, readable by its owner only, and return it; SetupError where the file is there, or cannot be."""
    private_key = X25519PrivateKey.generate()
    pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SetupError(f"{path} is there already, and is left as it is: name another file") from None
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise SetupError(f"{path} cannot be written: {error.strerror}") from None
    return private_key


def read_private_key(pem: bytes, passphrase: Callable[[], str]) -> X25519PrivateKey:
    """The key in a PEM text; `passphrase` is called where it needs one. SetupError, in one sentence, for anything else.

    A key that age or a password manager has decrypted, and hands over, needs none.
    """
    try:
        private_key = serialization.load_pem_private_key(pem, None)
    except TypeError:  # it is encrypted
        private_key = _decrypted(pem, passphrase().strip().lower())
    except (ValueError, UnsupportedAlgorithm):
        raise SetupError("this is no private key in PEM: give the file that keygen made") from None
    if not isinstance(private_key, X25519PrivateKey):
        raise SetupError("this is a private key of another kind than X25519: give the file that keygen made")
    return private_key


def public_bytes(private_key: X25519PrivateKey) -> bytes:
    """The public key of a private one, 32 bytes."""
    return private_key.public_key().public_bytes_raw()


def _decrypted(pem: bytes, passphrase: str) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(pem, passphrase.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise SetupError("the passphrase does not open this key: type it as keygen has shown it") from None

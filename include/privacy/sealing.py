"""Rejected messages, encrypted: they may hold personal data, and a fix may make them valid.

AES-256-GCM under a key that HKDF-SHA-256 derives from a masking key; the message id is authenticated with it, so what
is sealed cannot be passed off as another message's. Layout: 12-byte nonce, ciphertext, tag. In clear: the message's
attributes as a line of JSON, and its body behind it. What was sealed by early versions, under a label of its own, is
the body alone.
"""

import json
import os
from functools import lru_cache
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from include.events.message import Attributes, Message

LABEL = b"login_etl rejected message"
LABEL_OF_BODIES = b"login_etl rejected body"
NONCE_BYTES = 12
LINE = b"\n"  # JSON escapes it, so the first one ends the attributes


def seal(message: Message, *, key: bytes) -> bytes:
    """Encrypt a message's attributes and body. `surrogatepass`, because a rejected body may be no valid Unicode."""
    nonce = os.urandom(NONCE_BYTES)
    clear = json.dumps(message.attributes).encode() + LINE + message.body.encode("utf-8", "surrogatepass")
    return nonce + _cipher(key, LABEL).encrypt(nonce, clear, message.message_id.bytes)


def reseal(sealed: bytes, *, key: bytes, new_key: bytes, message_id: UUID) -> bytes:
    """Encrypt under another key what is sealed under this one; InvalidTag as `unseal`."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher(new_key, LABEL).encrypt(nonce, _open(sealed, key, message_id), message_id.bytes)


def unseal(sealed: bytes, *, key: bytes, message_id: UUID) -> tuple[str, Attributes]:
    """Decrypt a message's body and attributes; cryptography's InvalidTag where key, id or bytes do not fit."""
    attributes, _, body = _open(sealed, key, message_id).partition(LINE)
    return body.decode("utf-8", "surrogatepass"), json.loads(attributes)


def _open(sealed: bytes, key: bytes, message_id: UUID) -> bytes:
    """The attributes and the body, in clear."""
    nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    if len(nonce) < NONCE_BYTES:
        raise InvalidTag  # cryptography has another error for this
    try:
        return _cipher(key, LABEL).decrypt(nonce, ciphertext, message_id.bytes)
    except InvalidTag:
        return b"{}" + LINE + _cipher(key, LABEL_OF_BODIES).decrypt(nonce, ciphertext, message_id.bytes)


@lru_cache(maxsize=16)  # of a keyring's keys and two labels: deriving takes longer than opening
def _cipher(key: bytes, label: bytes) -> AESGCM:
    """The cipher under the key that is derived from a masking key."""
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=label).derive(key))

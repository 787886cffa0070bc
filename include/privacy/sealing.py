"""Bodies of rejected messages, encrypted: they may hold personal data, and a fix may make them valid.

AES-256-GCM under a key that HKDF-SHA-256 derives from a masking key; the message id is authenticated
with it, so a sealed body cannot be passed off as another message's. Layout: 12-byte nonce, ciphertext, tag.
"""

import os
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LABEL = b"login_etl rejected body"
NONCE_BYTES = 12


def seal(body: str, *, key: bytes, message_id: UUID) -> bytes:
    """Encrypt one body. `surrogatepass`, because a rejected body may be no valid Unicode."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher(key).encrypt(nonce, body.encode("utf-8", "surrogatepass"), message_id.bytes)


def unseal(sealed: bytes, *, key: bytes, message_id: UUID) -> str:
    """Decrypt one body; cryptography's InvalidTag where key, message id or bytes do not fit."""
    nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    return _cipher(key).decrypt(nonce, ciphertext, message_id.bytes).decode("utf-8", "surrogatepass")


def _cipher(key: bytes) -> AESGCM:
    """The cipher under the key that is derived from a masking key."""
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=LABEL).derive(key))

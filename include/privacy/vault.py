"""The vault: originals, sealed so that the pipeline, which writes them, cannot read them back.

    data key       = 32 random bytes, one a batch
    sealed key     = HPKE (RFC 9180: X25519, HKDF-SHA-256, AES-256-GCM; base mode, single shot, enc ‖ ct) to each
                     recipient, with info = "privacy data key" ‖ 0x00 ‖ batch id in decimal
    sealed value   = nonce (12) ‖ AES-256-GCM under the data key of PKCS7(512 bits) of the value, with the associated
                     data field ‖ 0x00 ‖ message id (16 bytes); nonces are 0, 1, 2, … of each data key
    key id         = first 8 hex digits of SHA-256(public key)

All text is UTF-8; docs/privacy.md has test vectors. Padded, so that a value's length says little of it. Bound to batch,
field and message, so that nothing that is sealed can be passed off as another's.
"""

import os
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
LABEL = b"privacy data key\0"
KEY_BYTES = 32
NONCE_BYTES = 12
BLOCK = 64
PADDINGS = [bytes([number]) * number for number in range(BLOCK + 1)]  # PKCS #7
FIELDS = {"ip": b"ip\0", "device_id": b"device_id\0"}
KEY_ID_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody to whom originals are sealed."""

    key_id: str
    public_key: bytes


def key_id_of(public_key: bytes) -> str:
    """The name of a public key."""
    return sha256(public_key).hexdigest()[:KEY_ID_LENGTH]


class DataKey:
    """The key of a batch's originals, which seals; it is new, so that no number of its counter was a nonce before."""

    def __init__(self) -> None:
        self._key = os.urandom(KEY_BYTES)
        self._cipher = AESGCM(self._key)
        self._numbers = count()

    def sealed_to(self, public_key: bytes, *, batch_id: int) -> bytes:
        """This key, for who has the private key."""
        return SUITE.encrypt(self._key, X25519PublicKey.from_public_bytes(public_key), _info(batch_id))

    def seal(self, value: str | None, *, field: str, message_id: UUID) -> bytes | None:
        """A value, sealed; None for None."""
        if value is None:
            return None
        nonce = next(self._numbers).to_bytes(NONCE_BYTES, "big")
        clear = value.encode()
        padded = clear + PADDINGS[BLOCK - len(clear) % BLOCK]
        return nonce + self._cipher.encrypt(nonce, padded, _bound(field, message_id))


class OpenedKey:
    """The key of a batch's originals, which opens what was sealed, and seals nothing."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def open(self, sealed: bytes | None, *, field: str, message_id: UUID) -> str | None:
        """What `seal` was given; cryptography's InvalidTag where key, field, message or bytes do not fit."""
        if sealed is None:
            return None
        if len(sealed) < NONCE_BYTES:
            raise InvalidTag  # cryptography has another error for this
        padded = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound(field, message_id))
        if not padded or not 1 <= padded[-1] <= BLOCK:
            raise InvalidTag  # it was sealed by something else
        return padded[: -padded[-1]].decode()


def open_data_key(sealed: bytes, private_key: X25519PrivateKey, *, batch_id: int) -> OpenedKey:
    """The key that was sealed to this private key's public one; InvalidTag where key, batch or bytes do not fit."""
    return OpenedKey(SUITE.decrypt(sealed, private_key, _info(batch_id)))


def _info(batch_id: int) -> bytes:
    return LABEL + str(batch_id).encode()


def _bound(field: str, message_id: UUID) -> bytes:
    return FIELDS[field] + message_id.bytes

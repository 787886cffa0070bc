"""Masks for personal data: keyed, so that they cannot be guessed; stable, so that duplicates stay visible.

A mask is `<kid>:<hex>`, 73 characters. For a keyring of one key

    kid_1  = first 8 hex digits of HMAC-SHA-256(key_1, "key-id")
    mask_1 = kid_1 ‖ ":" ‖ hex of HMAC-SHA-256(key_1, field ‖ 0x00 ‖ canonical value)

and each further key wraps the mask before it, so that old masks can be rotated without the raw value:

    kid_n  = first 8 hex digits of HMAC-SHA-256(key_n, "key-id" ‖ kid_(n-1))
    mask_n = kid_n ‖ ":" ‖ hex of HMAC-SHA-256(key_n, mask_(n-1))

All text is UTF-8. docs/masking.md has test vectors. This is pseudonymisation, not anonymisation:
whoever holds the keys can try every address in minutes.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Sequence
from socket import AF_INET, AF_INET6, inet_pton
from typing import Literal, get_args

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from include.failures import SetupError

PiiField = Literal["ip", "device_id", "user_id"]  # the last only in tombstones of erased users
FIELDS: tuple[PiiField, ...] = get_args(PiiField)

MASK = re.compile(r"[0-9a-f]{8}:[0-9a-f]{64}")
KID_LENGTH = 8
KEY_BYTES = 32
# 32 random bytes hold about 30 different values: fewer than 20, or only ASCII, is rarer than once in 10⁹ keys.
DISTINCT_BYTES = 20
# What clients send where they know nothing, in lower case.
STAND_FOR_NULL = {
    *("", "null", "none", "undefined", "unknown", "nan", "n/a"),
    *("0.0.0.0", "::", "00000000-0000-0000-0000-000000000000"),  # noqa: S104 - nothing listens there
}
UUID_SHAPE = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# As load balancers and runtimes hand addresses on: 203.0.113.7:51234, [2001:db8::7], [2001:db8::7]:443.
WITH_PORT = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\](?::[0-9]{1,5})?|(?P<host>[^:\[\]]+):[0-9]{1,5})")
MAKE_A_KEY = 'make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"'


class Keyring:
    """The masking keys, oldest first, and the key id of each prefix of them.

    `kids[-1]`, also `kid`, names the whole chain; the earlier ones name what rotation left behind.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)
        kids: list[str] = []
        for key in self._keys:
            kids.append(_digest(HMAC(key, SHA256()), "key-id" + (kids[-1] if kids else ""))[:KID_LENGTH])
        self.kids = tuple(kids)
        # Keyed once, copied for each value: that is most of what an HMAC of a short text costs.
        first, *wrapping = (HMAC(key, SHA256()) for key in self._keys)
        self._fields: dict[PiiField, HMAC] = {field: first.copy() for field in FIELDS}
        for field, keyed in self._fields.items():
            keyed.update(b"%s\0" % field.encode())
        self._wrapping = tuple(zip(wrapping, self.kids[1:], strict=True))
        self._newer = {kid: self._wrapping[number:] for number, kid in enumerate(self.kids)}

    def __repr__(self) -> str:
        return f"Keyring(kids={self.kids})"

    @property
    def kid(self) -> str:
        """The key id that new masks carry."""
        return self.kids[-1]

    def key(self, kid: str) -> bytes:
        """The key that `kid` was derived from; KeyError where it is not in this keyring."""
        return dict(zip(self.kids, self._keys, strict=True))[kid]

    def at(self, kid: str) -> "Keyring":
        """The keyring as it was when `kid` was its newest key; SetupError where it never was."""
        if kid not in self.kids:
            raise SetupError(
                f"connection pii_masking: masks are made with key id {kid}, whose key this worker's connection lacks: "
                "append it there, as elsewhere"
            )
        return self if kid == self.kid else Keyring(self._keys[: self.kids.index(kid) + 1])

    def rewrap(self, mask: str | None) -> str | None:
        """The mask under the newest key of a mask under an older one of this chain; any other text as it is.

        >>> old, new = Keyring([bytes(32)]), Keyring([bytes(32), bytes(range(32))])
        >>> new.rewrap(old.mask("192.0.2.1", field="ip")) == new.mask("192.0.2.1", field="ip")
        True
        """
        newer = self._newer.get(mask[:KID_LENGTH]) if mask else None
        if mask is None or not newer or not MASK.fullmatch(mask):
            return mask
        for keyed, kid in newer:
            mask = f"{kid}:{_digest(keyed, mask)}"
        return mask

    def mask(self, value: str | None, *, field: PiiField) -> str | None:
        """The mask of a raw value; None where it has no canonical form."""
        return self.mask_canonical(canonical_form(value, field=field), field=field)

    def mask_canonical(self, canonical: str | None, *, field: PiiField) -> str | None:
        """The mask of a value in its canonical form, which takes longer to find than the mask does."""
        if canonical is None:
            return None
        mask = f"{self.kids[0]}:{_digest(self._fields[field], canonical)}"
        for keyed, kid in self._wrapping:
            mask = f"{kid}:{_digest(keyed, mask)}"
        return mask


def canonical_form(value: str | None, *, field: PiiField) -> str | None:
    """What of a raw value is masked. These forms are frozen: another form would be another mask.

    None for null, for empty text and for what stands for them, so that these form no group of duplicates. A user id is
    masked as it is.

    >>> canonical_form("[2001:DB8::7]:443", field="ip"), canonical_form(" Unknown ", field="device_id")
    ('2001:db8::7', None)
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{field} must be text or null")  # ipaddress would take integers and booleans
    if field == "user_id":
        return value
    canonical = canonical_address(value) if field == "ip" else canonical_device(value)
    return None if canonical.lower() in STAND_FOR_NULL else canonical


def canonical_device(text: str) -> str:
    """One spelling for each UUID; any other text is only stripped."""
    text = text.strip()
    return text.lower() if UUID_SHAPE.fullmatch(text) else text


def canonical_address(text: str) -> str:
    """One spelling for each address, without port, brackets and zone; text that is no address is only stripped.

    >>> canonical_address(" ::ffff:192.0.2.1 "), canonical_address("203.0.113.7:51234")
    ('192.0.2.1', '203.0.113.7')
    """
    text = text.strip()
    if ":" not in text:
        return text  # an IPv4 address, which has one spelling only, or none
    match = WITH_PORT.fullmatch(text)
    host = (match["bracketed"] or match["host"]) if match else text
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return text
    return str(getattr(address, "ipv4_mapped", None) or address)


def is_address(canonical: str) -> bool:
    """Whether a canonical form of the field `ip` is an address.

    >>> is_address("192.0.2.1"), is_address("2001:db8::1"), is_address("192.0.2.1, 198.51.100.2")
    (True, True, False)
    """
    try:
        inet_pton(AF_INET6 if ":" in canonical else AF_INET, canonical)
    except (OSError, ValueError):
        return False
    return True


def read_keyring(password: str | None) -> Keyring:
    """Read base64url keys (RFC 4648 §5, padded or not), comma separated, oldest first.

    Raises SetupError, which numbers the key and never shows it, for a key that is missing,
    not exactly base64url, shorter than 32 bytes, evidently not random, or there twice.
    """
    if not password or not password.strip():
        raise SetupError(f"connection pii_masking: the password holds no masking key; {MAKE_A_KEY}")
    keys: list[bytes] = []
    for number, text in enumerate(password.split(","), start=1):
        fault, key = _read_key(text.strip())
        if not fault and key in keys:
            fault = f"repeats key {keys.index(key) + 1}"
        if fault:
            raise SetupError(f"connection pii_masking: key {number} {fault}; {MAKE_A_KEY}")
        keys.append(key)
    return Keyring(keys)


def _read_key(text: str) -> tuple[str, bytes]:
    """A fault, or nothing, and the key. Returned, not raised: a decoder's error would show the key."""
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return "is not base64url", b""
    # b64decode takes "+/" and stray last bits as well; a mangled key would work, and mask differently.
    if base64.urlsafe_b64encode(key).decode().rstrip("=") != text.rstrip("="):
        return "is not base64url", b""
    if len(key) < KEY_BYTES:
        return f"has {len(key)} bytes where at least {KEY_BYTES} random ones are needed", b""
    if len(set(key)) < DISTINCT_BYTES or key.isascii():
        return "is not random", b""
    return "", key


def _digest(keyed: HMAC, text: str) -> str:
    """The hex of the HMAC of a text; `keyed` is left as it is."""
    mac = keyed.copy()
    mac.update(text.encode())
    return mac.finalize().hex()

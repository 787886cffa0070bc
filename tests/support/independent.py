"""The vault's format, read in plain Python from the standards, and not by the library that writes it.

X25519 (RFC 7748), HKDF (RFC 5869) and HPKE in base mode (RFC 9180), AES-256 (FIPS 197) in GCM (SP 800-38D).
"""

import hashlib
import hmac

P = 2**255 - 19


def x25519(scalar, point):
    """The Montgomery ladder of RFC 7748, section 5."""
    number = int.from_bytes(scalar, "little") & ~7 & (2**254 - 1) | 2**254
    x1 = int.from_bytes(point, "little") & (2**255 - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for place in reversed(range(255)):
        bit = number >> place & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        e = aa - bb
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def _times(a, b):
    """The product in AES's field."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def _substitutes():
    def substitute(byte):
        inverse = next((x for x in range(256) if _times(byte, x) == 1), 0)
        turned = (inverse << shift | inverse >> 8 - shift for shift in range(5))
        result = 0x63
        for each in turned:
            result ^= each & 0xFF
        return result

    return [substitute(byte) for byte in range(256)]


S = _substitutes()


def aes(key, block):
    """A block under a key of 32 bytes."""
    words = [key[place : place + 4] for place in range(0, 32, 4)]
    constant = 1
    for number in range(8, 60):
        word = words[-1]
        if number % 8 == 0:
            word = bytes(S[byte] for byte in word[1:] + word[:1])
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = _times(constant, 2)
        elif number % 8 == 4:
            word = bytes(S[byte] for byte in word)
        words.append(bytes(a ^ b for a, b in zip(words[-8], word, strict=True)))
    keys = [b"".join(words[place : place + 4]) for place in range(0, 60, 4)]
    state = [a ^ b for a, b in zip(block, keys[0], strict=True)]
    for number in range(1, 15):
        state = [S[state[(place + 4 * (place % 4)) % 16]] for place in range(16)]  # and the shift of rows
        if number < 14:
            columns = [state[place : place + 4] for place in range(0, 16, 4)]
            state = [
                _times(c[row], 2) ^ _times(c[(row + 1) % 4], 3) ^ c[(row + 2) % 4] ^ c[(row + 3) % 4]
                for c in columns
                for row in range(4)
            ]
        state = [a ^ b for a, b in zip(state, keys[number], strict=True)]
    return bytes(state)


def gcm_open(key, nonce, sealed, associated):
    """The clear text; ValueError where the tag does not fit."""
    ciphertext, tag = sealed[:-16], sealed[-16:]
    h = int.from_bytes(aes(key, bytes(16)), "big")

    def padded(data):
        return data + bytes(-len(data) % 16)

    total = 0
    lengths = (8 * len(associated)).to_bytes(8, "big") + (8 * len(ciphertext)).to_bytes(8, "big")
    data = padded(associated) + padded(ciphertext) + lengths
    for place in range(0, len(data), 16):
        x, v, z = total ^ int.from_bytes(data[place : place + 16], "big"), h, 0
        for bit in reversed(range(128)):
            z ^= v if x >> bit & 1 else 0
            v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
        total = z

    def stream(counter):
        return aes(key, nonce + counter.to_bytes(4, "big"))

    if bytes(a ^ b for a, b in zip(total.to_bytes(16, "big"), stream(1), strict=True)) != tag:
        raise ValueError("the tag does not fit")
    blocks = (
        zip(ciphertext[16 * number : 16 * number + 16], stream(number + 2), strict=False)
        for number in range(-(-len(ciphertext) // 16))
    )
    return bytes(a ^ b for block in blocks for a, b in block)


def _extract(suite, salt, label, secret):
    return hmac.digest(salt, b"HPKE-v1" + suite + label + secret, hashlib.sha256)


def _expand(suite, secret, label, info, length):
    """One block of HKDF is enough for up to 32 bytes."""
    labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(secret, labeled + b"\1", hashlib.sha256)[:length]


def hpke_open(sealed, private_key, info):
    """What was sealed in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM, as enc ‖ ct."""
    enc, ciphertext = sealed[:32], sealed[32:]
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"
    public_key = x25519(private_key, (9).to_bytes(32, "little"))
    prk = _extract(kem, b"", b"eae_prk", x25519(private_key, enc))
    shared = _expand(kem, prk, b"shared_secret", enc + public_key, 32)
    context = b"\0" + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    secret = _extract(suite, shared, b"secret", b"")
    key, nonce = _expand(suite, secret, b"key", context, 32), _expand(suite, secret, b"base_nonce", context, 12)
    return gcm_open(key, nonce, ciphertext, b"")


def open_original(sealed_value, sealed_key, private_key, *, batch_id, field, message_id):
    """A value of the vault, in clear."""
    key = hpke_open(sealed_key, private_key, b"privacy data key\0%d" % batch_id)
    clear = gcm_open(key, sealed_value[:12], sealed_value[12:], field.encode() + b"\0" + message_id.bytes)
    assert len(clear) % 64 == 0
    assert set(clear[-clear[-1] :]) == {clear[-1]}
    return clear[: -clear[-1]].decode()

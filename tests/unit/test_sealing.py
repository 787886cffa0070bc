import os
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from include.events.message import Message
from include.privacy.sealing import reseal, seal, unseal

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
texts = st.text(st.characters(codec=None))
values = st.fixed_dictionaries({"DataType": st.just("String"), "StringValue": texts}) | st.fixed_dictionaries(
    {"DataType": st.just("Binary.gzip"), "BinaryValue": st.just("H4sIAAAA")}
)


def message(body, attributes=None):
    return Message(uuid4(), datetime(2026, 1, 1, tzinfo=UTC), 1, body, attributes=attributes or {})


@given(texts, st.dictionaries(texts, values, max_size=3))
def test_what_is_sealed_can_be_opened(body, attributes):
    sealed = message(body, attributes)
    assert unseal(seal(sealed, key=KEY), key=KEY, message_id=sealed.message_id) == (body, attributes)


def test_what_is_sealed_shows_nothing_and_is_never_the_same_twice():
    rejected = message("203.0.113.77", {"trace": {"DataType": "String", "StringValue": "203.0.113.78"}})
    sealed = [seal(rejected, key=KEY) for _ in range(2)]
    assert sealed[0] != sealed[1]
    assert b"203.0" not in sealed[0]
    assert "203.0" not in repr(rejected)


def test_another_key_another_message_or_another_byte_opens_nothing():
    rejected = message("body")
    sealed = seal(rejected, key=KEY)
    for arguments in (
        {"key": OTHER_KEY, "message_id": rejected.message_id},
        {"key": KEY, "message_id": uuid4()},
    ):
        with pytest.raises(InvalidTag):
            unseal(sealed, **arguments)
    with pytest.raises(InvalidTag):
        unseal(sealed[:-1] + bytes([sealed[-1] ^ 1]), key=KEY, message_id=rejected.message_id)


@pytest.mark.parametrize("length", [0, 5, 12, 20])
def test_what_was_cut_off_opens_nothing(length):
    rejected = message("body")
    with pytest.raises(InvalidTag):
        unseal(seal(rejected, key=KEY)[:length], key=KEY, message_id=rejected.message_id)


def test_what_is_sealed_anew_is_opened_by_the_other_key_only():
    rejected = message("body", {"trace": {"DataType": "String", "StringValue": "t"}})
    sealed = reseal(seal(rejected, key=KEY), key=KEY, new_key=OTHER_KEY, message_id=rejected.message_id)
    opened = unseal(sealed, key=OTHER_KEY, message_id=rejected.message_id)
    assert opened == ("body", rejected.attributes)
    with pytest.raises(InvalidTag):
        unseal(sealed, key=KEY, message_id=rejected.message_id)


def test_bodies_that_early_versions_sealed_can_be_opened():
    """They sealed the body alone, under a label of its own; this is how, from what they published."""
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"login_etl rejected body").derive(KEY)
    message_id, nonce = UUID(int=7), os.urandom(12)
    for body in ("nonsense", "", '{}\n{"user_id": 5}', "\ud800"):
        sealed = nonce + AESGCM(key).encrypt(nonce, body.encode("utf-8", "surrogatepass"), message_id.bytes)
        assert unseal(sealed, key=KEY, message_id=message_id) == (body, {})

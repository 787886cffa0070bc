from uuid import uuid4

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from include.privacy.sealing import seal, unseal

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))


@given(st.text(st.characters(codec=None)))
def test_what_is_sealed_can_be_opened(body):
    message_id = uuid4()
    assert unseal(seal(body, key=KEY, message_id=message_id), key=KEY, message_id=message_id) == body


def test_a_sealed_body_shows_nothing_and_is_never_the_same_twice():
    message_id = uuid4()
    sealed = [seal("203.0.113.77", key=KEY, message_id=message_id) for _ in range(2)]
    assert sealed[0] != sealed[1]
    assert b"203.0" not in sealed[0]


def test_another_key_another_message_or_another_byte_opens_nothing():
    message_id = uuid4()
    sealed = seal("body", key=KEY, message_id=message_id)
    for arguments in (
        {"key": OTHER_KEY, "message_id": message_id},
        {"key": KEY, "message_id": uuid4()},
    ):
        with pytest.raises(InvalidTag):
            unseal(sealed, **arguments)
    with pytest.raises(InvalidTag):
        unseal(sealed[:-1] + bytes([sealed[-1] ^ 1]), key=KEY, message_id=message_id)

import base64
import ipaddress
import re
import secrets
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from include.failures import SetupError
from include.privacy.masking import STAND_FOR_NULL, Keyring, canonical_address, canonical_form, is_address, read_keyring

DOCS = Path(__file__).parents[2] / "docs" / "masking.md"
KEY_1, KEY_2 = bytes(range(100, 132)), bytes(range(150, 190))


FROZEN_ADDRESSES = {
    "203.0.113.7": "203.0.113.7",
    " 203.0.113.7\n": "203.0.113.7",
    "203.0.113.7:51234": "203.0.113.7",
    "::ffff:203.0.113.7": "203.0.113.7",
    "::FFFF:cb00:7107": "203.0.113.7",
    "[::ffff:203.0.113.7]:443": "203.0.113.7",
    "::203.0.113.7": "::cb00:7107",
    "64:ff9b::203.0.113.7": "64:ff9b::cb00:7107",
    "2001:DB8:0:0:0:0:0:7": "2001:db8::7",
    "[2001:db8::7]": "2001:db8::7",
    "[2001:db8::7]:443": "2001:db8::7",
    "2001:db8::7%eth0": "2001:db8::7",
    "[fe80::1%eth0]:443": "fe80::1",
    "[2001:db8::7": "[2001:db8::7",
    "[203.0.113.7]:80": "203.0.113.7",
    "203.0.113.7:123456": "203.0.113.7:123456",
    "203.0.113.7:http": "203.0.113.7:http",
    "203.0.113.07": "203.0.113.07",
    "203.0.113.7, 198.51.100.2": "203.0.113.7, 198.51.100.2",
    "Host.Example:80": "Host.Example:80",
    "UNKNOWN": None,
    "0.0.0.0:80": None,
    "[::]:443": None,
    "::ffff:0.0.0.0": None,
}
FROZEN_DEVICES = {
    "593-47-5928": "593-47-5928",
    " 593-47-5928 ": "593-47-5928",
    "7C9E6679-7425-40DE-944B-E07FC1F90AE7": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "7C9E6679742540DE944BE07FC1F90AE7": "7C9E6679742540DE944BE07FC1F90AE7",
    "{7C9E6679-7425-40DE-944B-E07FC1F90AE7}": "{7C9E6679-7425-40DE-944B-E07FC1F90AE7}",
    "ABC": "ABC",
    "203.0.113.7:80": "203.0.113.7:80",
    "Null": None,
    "N/A": None,
    "0.0.0.0": None,
}


def encoded(*keys):
    return ",".join(base64.urlsafe_b64encode(key).decode() for key in keys)


def published_vectors():
    """Rows of the table in docs/masking.md: keys, field, value, mask."""
    rows = re.findall(
        r"^\| `([\w=,-]+)` \| (ip|device_id) \| `(.*)` \| `([0-9a-f]{8}:[0-9a-f]{64})` \|$",
        DOCS.read_text(),
        re.MULTILINE,
    )
    assert len(rows) >= 6
    return rows


@pytest.mark.parametrize(("keys", "field", "value", "mask"), published_vectors())
def test_published_vectors(keys, field, value, mask):
    assert read_keyring(keys).mask(value, field=field) == mask


@pytest.mark.parametrize(
    ("spellings", "canonical"),
    [
        (["192.0.2.1", " 192.0.2.1\n", "::ffff:192.0.2.1", "::FFFF:c000:201"], "192.0.2.1"),
        (["2001:db8::1", "2001:DB8:0:0:0:0:0:1", "2001:0db8::0001"], "2001:db8::1"),
        (["not an address", " not an address "], "not an address"),
        (["192.0.2.01"], "192.0.2.01"),
        (["240.0.0.1"], "240.0.0.1"),
    ],
)
def test_every_spelling_of_an_address_has_one_mask(spellings, canonical, keyring):
    assert {canonical_address(text) for text in spellings} == {canonical}
    assert len({keyring.mask(text, field="ip") for text in spellings}) == 1


@given(st.one_of(st.text("0123456789.", max_size=16), st.text(), st.ip_addresses(v=4).map(str)))
def test_what_has_no_colon_is_spelled_as_python_spells_it(text):
    assume(":" not in text)
    try:
        expected = str(ipaddress.ip_address(text.strip()))
    except ValueError:
        expected = text.strip()
    assert canonical_address(text) == expected


@given(st.ip_addresses(), st.integers(0, 65535), st.sampled_from(["%eth0", "%1", "%en0", ""]))
def test_a_client_has_one_mask_however_its_address_is_handed_on(address, port, zone):
    """All forms that docs/masking.md lists, of any address."""
    forms = [str(address), f" {address}\n", str(address).upper()]
    if address.version == 4:
        forms += [f"{address}:{port}", f"::ffff:{address}", f"[::ffff:{address}]:{port}"]
    else:
        forms += [
            f"[{address}]",
            f"[{address}]:{port}",
            f"{address}{zone}",
            f"[{address}{zone}]:{port}",
            address.exploded,
        ]
    canonical = {canonical_form(form, field="ip") for form in forms}
    assert len(canonical) == 1
    assert all(form is None or is_address(form) for form in canonical)


def test_the_canonical_forms_are_frozen():
    """Whoever changes one changes masks that are stored already, here and in other systems."""
    assert {
        "ip": [canonical_form(text, field="ip") for text in FROZEN_ADDRESSES],
        "device_id": [canonical_form(text, field="device_id") for text in FROZEN_DEVICES],
    } == {"ip": list(FROZEN_ADDRESSES.values()), "device_id": list(FROZEN_DEVICES.values())}
    nothing = {"", "null", "none", "undefined", "unknown", "nan", "n/a", "0.0.0.0", "::", str(UUID(int=0))}
    assert nothing == STAND_FOR_NULL
    published = DOCS.read_text()
    assert all(f"`{text}`" in published for text in nothing - {"", str(UUID(int=0))})


@given(st.uuids())
def test_a_uuid_has_one_mask_in_any_case(uuid):
    forms = {canonical_form(form, field="device_id") for form in (str(uuid), str(uuid).upper(), f" {uuid} ")}
    assert forms == {str(uuid) if uuid.int else None}


@given(st.text())
def test_a_canonical_form_is_its_own(text):
    for field in ("ip", "device_id"):
        canonical = canonical_form(text, field=field)
        assert canonical is None or canonical_form(canonical, field=field) == canonical


def test_equal_values_of_two_fields_mask_differently(keyring):
    assert keyring.mask("1", field="ip") != keyring.mask("1", field="device_id")


@pytest.mark.parametrize("value", [None, "", "  ", "\t"])
@pytest.mark.parametrize("field", ["ip", "device_id"])
def test_nothing_is_masked_as_nothing(value, field, keyring):
    assert keyring.mask(value, field=field) is None


@pytest.mark.parametrize("value", [5, True, b"1.2.3.4", 1.5])
def test_only_text_is_masked(value, keyring):
    with pytest.raises(TypeError):
        keyring.mask(value, field="ip")


def test_a_mask_is_a_key_id_and_an_hmac(keyring):
    mask = keyring.mask("1.2.3.4", field="ip")
    assert re.fullmatch(r"[0-9a-f]{8}:[0-9a-f]{64}", mask)
    assert mask.startswith(f"{keyring.kid}:")


def test_a_second_key_wraps_the_first_ones_masks():
    one, two = Keyring([KEY_1]), Keyring([KEY_1, KEY_2])
    assert two.kids[0] == one.kid
    assert two.kids[1] != Keyring([KEY_2]).kid  # the key id names the whole chain
    assert two.mask("1.2.3.4", field="ip") != one.mask("1.2.3.4", field="ip")


def test_padding_is_optional():
    assert read_keyring(encoded(KEY_1).rstrip("=")).kids == read_keyring(encoded(KEY_1)).kids


def test_a_fresh_key_is_accepted():
    for _ in range(1000):
        read_keyring(secrets.token_urlsafe(32))


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        (None, "holds no masking key"),
        ("", "holds no masking key"),
        (" ", "holds no masking key"),
        (encoded(KEY_1[:31]), "key 1 has 31 bytes"),
        (encoded(b"a" * 32), "key 1 is not random"),
        (encoded(bytes(32)), "key 1 is not random"),
        (encoded(b"correct horse battery staple, 1234567890"), "key 1 is not random"),
        (f"{encoded(KEY_1)},", "key 2 has 0 bytes"),
        (f"{encoded(KEY_1)},{encoded(KEY_1)}", "key 2 repeats key 1"),
        (encoded(KEY_1).replace("a", "!", 1), "key 1 is not base64url"),
        (encoded(KEY_1)[:20] + "\n" + encoded(KEY_1)[20:], "key 1 is not base64url"),
        (encoded(KEY_1)[:20] + "===" + encoded(KEY_1)[20:], "key 1 is not base64url"),
        (base64.b64encode(b"\xfb\xff" * 8 + KEY_1).decode(), "key 1 is not base64url"),
        (encoded(KEY_1).rstrip("=")[:-1] + "9", "key 1 is not base64url"),  # stray last bits
        ("kein schlüssel", "key 1 is not base64url"),
    ],
)
def test_a_weak_or_mangled_key_is_refused_without_being_shown(password, fault):
    with pytest.raises(SetupError, match=fault) as caught:
        read_keyring(password)
    assert "make one with" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    for key in (password or "").split(","):
        assert len(key) < 8 or key not in str(caught.value)


def test_a_keyring_does_not_show_its_keys():
    shown = repr(Keyring([KEY_1]))
    assert KEY_1.hex() not in shown
    assert str(KEY_1) not in shown

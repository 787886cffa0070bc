import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.events.version import pack_version

versions = st.tuples(st.integers(0, 2146), st.integers(0, 999), st.integers(0, 999))


@given(versions, versions)
def test_packed_versions_sort_as_versions_do_and_never_merge(left, right):
    packed = [pack_version(".".join(map(str, version))) for version in (left, right)]
    assert (packed[0] < packed[1]) == (left < right)
    assert (packed[0] == packed[1]) == (left == right)


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("2.3.0", 2003000),
        ("0.96", 96000),
        ("2.00", 2000000),
        ("7", 7000000),
        ("2146.999.999", 2146999999),
        ("0", 0),
        ("v2.3.0", 2003000),
        ("V7", 7000000),
    ],
)
def test_known_versions(text, packed):
    assert pack_version(text) == packed


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "1.", "1..2", "a", "1.2b", "-1", "1.1000", "2147", " 1", "1\n", "٣", "1,2", "9" * 5000, "vv1", "v"),
        *("10.2.1234", "16.2.34.0", "2.3.0-beta.1", "2.3.0 (456)", "2.3.0+456", "1.2.3.4"),
    ],
)
def test_what_cannot_be_packed_has_no_integer(text):
    assert pack_version(text) is None

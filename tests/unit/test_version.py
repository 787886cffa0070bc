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
    [("2.3.0", 2003000), ("0.96", 96000), ("2.00", 2000000), ("7", 7000000), ("2146.999.999", 2146999999), ("0", 0)],
)
def test_known_versions(text, packed):
    assert pack_version(text) == packed


@pytest.mark.parametrize(
    "text",
    ["", ".", "1.", "1..2", "1.2.3.4", "a", "1.2b", "-1", "1.1000", "2147", " 1", "1\n", "٣", "1,2", "9" * 5000],
)
def test_what_is_no_version_is_refused_without_being_quoted(text):
    with pytest.raises(ValueError, match="a version is") as caught:
        pack_version(text)
    assert len(str(caught.value)) < 100

"""App versions as integers that sort the way versions do."""

import re
from functools import lru_cache

MAJOR_LIMIT = 2146  # 2146·1 000 000 + 999·1 000 + 999 is the last one below 2³¹
PART_LIMIT = 999

_VERSION = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.([0-9]{1,9}))?")


@lru_cache(maxsize=4096)  # few versions are in use at a time, and each is packed twice
def pack_version(text: str) -> int:
    """Pack one to three dot-separated numbers into `major·1 000 000 + minor·1 000 + patch`.

    Missing parts count as 0. Raises ValueError, without the text in it, where the text is
    anything else, a minor or patch exceeds 999, or the major exceeds 2146.

    >>> pack_version("5.4.8"), pack_version("0.96")
    (5004008, 96000)
    >>> pack_version("2.10") > pack_version("2.9")
    True
    """
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ValueError("a version is one to three dot-separated numbers")
    major, minor, patch = (int(part or 0) for part in match.groups())
    if major > MAJOR_LIMIT or minor > PART_LIMIT or patch > PART_LIMIT:
        raise ValueError(f"a version is at most {MAJOR_LIMIT}.{PART_LIMIT}.{PART_LIMIT}")
    return major * 1_000_000 + minor * 1_000 + patch

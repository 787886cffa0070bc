"""App versions as integers that sort the way versions do."""

import re
from functools import lru_cache

MAJOR_LIMIT = 2146  # 2146·1 000 000 + 999·1 000 + 999 is the last one below 2³¹
PART_LIMIT = 999

_VERSION = re.compile(r"[vV]?([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.([0-9]{1,9}))?")


@lru_cache(maxsize=4096)  # few versions are in use at a time
def pack_version(text: str) -> int | None:
    """Pack one to three dot-separated numbers into `major·1 000 000 + minor·1 000 + patch`.

    Missing parts count as 0, a leading `v` is ignored. None where the text is anything else (a suffix, a build number,
    a fourth part), a minor or patch exceeds 999, or the major exceeds 2146: nothing else would sort as versions do.

    >>> pack_version("5.4.8"), pack_version("v0.96"), pack_version("2.3.0-beta.1")
    (5004008, 96000, None)
    >>> pack_version("2.10") > pack_version("2.9")
    True
    """
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    major, minor, patch = (int(part or 0) for part in match.groups())
    if major > MAJOR_LIMIT or minor > PART_LIMIT or patch > PART_LIMIT:
        return None
    return major * 1_000_000 + minor * 1_000 + patch

"""Pictures of screens made small: PNG with a palette, a third of what Chromium writes.

https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial

MOST_COLOURS = 256
SIGNATURE = b"\x89PNG\r\n\x1a\n"
RGB, PALETTE = 2, 3
BYTES = 3  # of a pixel
HEADER = struct.Struct(">IIBBBBB")


def with_palette(png: bytes) -> bytes:
    """The same picture in its 256 most frequent colours; each other pixel gets the nearest of them.

    Takes what Chromium writes for a screen: RGB of 8 bits, not interlaced. ValueError for any other PNG.
    """
    chunks = list(_chunks(png))
    width, height, *form = HEADER.unpack(chunks[0][1])
    if form != [8, RGB, 0, 0, 0]:
        raise ValueError("it is not RGB of 8 bits, or interlaced")
    packed = b"".join(data for name, data in chunks if name == b"IDAT")
    rows = [
        [row[x : x + BYTES] for x in range(0, len(row), BYTES)]
        for row in _rows(zlib.decompress(packed), width * BYTES, height)
    ]
    colours = Counter(pixel for row in rows for pixel in row)
    palette = [colour for colour, _ in colours.most_common(MOST_COLOURS)]
    index = {colour: number for number, colour in enumerate(palette)}
    others = colours.keys() - index.keys()
    index |= {colour: index[min(palette, key=partial(_distance, colour))] for colour in others}
    pixels = b"".join(b"\0" + bytes(index[pixel] for pixel in row) for row in rows)
    return SIGNATURE + b"".join(
        (
            _chunk(b"IHDR", HEADER.pack(width, height, 8, PALETTE, 0, 0, 0)),
            _chunk(b"PLTE", b"".join(palette)),
            _chunk(b"IDAT", zlib.compress(pixels, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _rows(filtered: bytes, length: int, height: int) -> Iterator[bytes]:
    """The rows as they were before each was filtered: written as differences from what is left of it and above."""
    above = bytes(length)
    for y in range(height):
        start = y * (length + 1)
        kind, row = filtered[start], bytearray(filtered[start + 1 : start + 1 + length])
        for x in range(length):
            left, corner = (row[x - BYTES], above[x - BYTES]) if x >= BYTES else (0, 0)
            row[x] = (row[x] + _prediction(kind, left, above[x], corner)) & 255
        above = bytes(row)
        yield above


def _prediction(kind: int, left: int, above: int, corner: int) -> int:
    if kind == 4:  # noqa: PLR2004 - the standard's numbers, and Paeth's order
        guess = left + above - corner
        return min(left, above, corner, key=lambda each: abs(guess - each))
    return (0, left, above, (left + above) // 2)[kind]


def _distance(one: bytes, other: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

"""Pictures with a palette show what they showed before."""

import struct
import zlib

import pytest

from sandbox.png import HEADER, SIGNATURE, with_palette

WIDTH, HEIGHT = 7, 15


def paeth(a, b, c):
    distances = [(abs(b - c), a), (abs(a - c), b), (abs(a + b - 2 * c), c)]
    return min(distances, key=lambda each: each[0])[1]


PREDICTIONS = [
    lambda a, b, c: 0,
    lambda a, b, c: a,
    lambda a, b, c: b,
    lambda a, b, c: (a + b) // 2,
    paeth,
]


def picture(rows, *, colour_type=2):
    """A PNG whose rows are filtered in each way in turn."""
    packed, above = b"", [0] * (WIDTH * 3)
    for number, row in enumerate(rows):
        kind = number % 5
        lefts, corners = [0, 0, 0, *row[:-3]], [0, 0, 0, *above[:-3]]
        predicted = map(PREDICTIONS[kind], lefts, above, corners)
        packed += bytes([kind, *((value - guess) % 256 for value, guess in zip(row, predicted, strict=True))])
        above = row
    header = HEADER.pack(WIDTH, len(rows), 8, colour_type, 0, 0, 0)
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(packed)), (b"IEND", b""))
    )


def pixels(png):
    """The colours of a PNG with a palette and without filters, row by row."""
    at, chunks = len(SIGNATURE), {}
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        name, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length) == (zlib.crc32(name + data),)
        chunks[name], at = data, at + 12 + length
    palette, indexes = chunks[b"PLTE"], zlib.decompress(chunks[b"IDAT"])
    rows = [indexes[start : start + WIDTH + 1] for start in range(0, len(indexes), WIDTH + 1)]
    assert all(row[0] == 0 for row in rows)
    return [[value for index in row[1:] for value in palette[3 * index : 3 * index + 3]] for row in rows]


def test_few_colours_are_kept_however_rows_are_filtered():
    rows = [[(x * y * 31 + x // 3 * 77) % 256 for x in range(WIDTH * 3)] for y in range(HEIGHT)]
    assert pixels(with_palette(picture(rows))) == rows


def test_of_too_many_colours_the_others_become_their_neighbours():
    numbers = [range(y * WIDTH, (y + 1) * WIDTH) for y in range(60)]
    rows = [[value for number in row for value in (0, number // 256, number % 256)] for row in numbers]
    shown = pixels(with_palette(picture(rows)))
    assert shown == [[value for number in row for value in (0, 0, number % 256)] for row in numbers]


def test_any_other_png_is_refused():
    with pytest.raises(ValueError, match="not RGB"):
        with_palette(picture([[0] * WIDTH * 3], colour_type=6))

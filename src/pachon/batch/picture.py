"""Pictures of all detectors side by side, from the grey PNGs that workers make of each. Pure.

Read is exactly what is written: 8 bits of grey, every row unfiltered (ISO/IEC 15948).
"""

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GAP_PIXELS = 4
GAP_SHADE = 255
MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class Picture:
    """Shades of grey, row by row from the top."""

    width: int
    height: int
    shades: bytes


def read(png: bytes) -> Picture:
    """The picture in a PNG of ours.

    Raises:
        ValueError: it is another kind of file.
    """
    if not png.startswith(SIGNATURE):
        raise ValueError("this is no PNG")
    header, data, at = b"", b"", len(SIGNATURE)
    while at + 8 <= len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        content = png[at + 8 : at + 8 + size]
        header = content if kind == b"IHDR" else header
        data += content if kind == b"IDAT" else b""
        at += size + 12
    if len(header) != 13 or header[8:] != b"\x08\x00\x00\x00\x00":
        raise ValueError("this PNG is not grey with 8 bits")
    width, height = struct.unpack(">II", header[:8])
    inflating = zlib.decompressobj()
    try:
        rows = inflating.decompress(data, MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"this PNG is damaged: {error}") from error
    stride = width + 1
    if not inflating.eof or len(rows) != stride * height or any(rows[row * stride] for row in range(height)):
        raise ValueError("this PNG is not one of ours")
    return Picture(width, height, b"".join(rows[row * stride + 1 : (row + 1) * stride] for row in range(height)))


def write(picture: Picture) -> bytes:
    """The picture as PNG."""
    rows = (picture.shades[row * picture.width : (row + 1) * picture.width] for row in range(picture.height))
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\x00" + row for row in rows))
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def mosaic(pictures: Sequence[Picture]) -> Picture:
    """The pictures in the given order, row by row from the top left, with gaps between them.

    Raises:
        ValueError: there is none.
    """
    if not pictures:
        raise ValueError("there is nothing to put together")
    columns = math.ceil(math.sqrt(len(pictures)))
    lines = math.ceil(len(pictures) / columns)
    cell_width = max(picture.width for picture in pictures) + GAP_PIXELS
    cell_height = max(picture.height for picture in pictures) + GAP_PIXELS
    width, height = columns * cell_width + GAP_PIXELS, lines * cell_height + GAP_PIXELS
    canvas = bytearray([GAP_SHADE]) * (width * height)
    for place, picture in enumerate(pictures):
        left = GAP_PIXELS + (place % columns) * cell_width
        top = GAP_PIXELS + (place // columns) * cell_height
        for row in range(picture.height):
            start = (top + row) * width + left
            canvas[start : start + picture.width] = picture.shades[row * picture.width : (row + 1) * picture.width]
    return Picture(width, height, bytes(canvas))

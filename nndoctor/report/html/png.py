"""Pictures as PNG in a data address, written without a library for pictures."""

from __future__ import annotations

import base64
import struct
import zlib

from nndoctor.exhibits import Pictures

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 3: 2}  # channels to what the format calls grey, and red, green and blue


def data_addresses(pictures: Pictures) -> list[str]:
    """One for each picture, to stand as the source of an image."""
    encoded = (_png(pictures, base64.b64decode(pixels)) for pixels in pictures.pixels)
    return [f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}" for data in encoded]


def _png(pictures: Pictures, pixels: bytes) -> bytes:
    stride = pictures.width * pictures.channels
    rows = (pixels[start : start + stride] for start in range(0, stride * pictures.height, stride))
    header = struct.pack(">IIBBBBB", pictures.width, pictures.height, 8, COLOUR_TYPES[pictures.channels], 0, 0, 0)
    unfiltered = b"".join(b"\0" + row for row in rows)  # a row begins with the number of its filter
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(unfiltered, 9)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

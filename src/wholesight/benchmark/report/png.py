"""Small PNG files as data URIs: few colours and a palette, so that many fit into one page.

Axes: r c rows and columns; p colours of a palette.
"""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from jaxtyping import UInt8


def data_uri(indices: UInt8[np.ndarray, "r c"], palette: UInt8[np.ndarray, "p 4"]) -> str:
    """Encode a picture whose pixels are numbers of RGBA colours (PNG, ISO/IEC 15948).

    Four bits a pixel where 16 colours do, else eight. The same picture gives the same text.

    >>> data_uri(np.zeros((1, 1), np.uint8), np.zeros((1, 4), np.uint8))[:22]
    'data:image/png;base64,'
    """
    rows, columns = indices.shape
    bits = 4 if len(palette) <= 16 else 8
    head = struct.pack(">IIBBBBB", columns, rows, bits, 3, 0, 0, 0)
    # The filter byte 0, "none", leads every row: with a palette the others do harm.
    lines = np.pad(_packed(indices) if bits == 4 else indices, ((0, 0), (1, 0)))
    parts = (
        (b"IHDR", head),
        (b"PLTE", palette[:, :3].tobytes()),
        (b"tRNS", palette[:, 3].tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    file = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in parts)
    return "data:image/png;base64," + base64.b64encode(file).decode()


def _packed(indices: UInt8[np.ndarray, "r c"]) -> UInt8[np.ndarray, "r half"]:
    """Two pixels a byte, the left one in the upper half."""
    even = np.pad(indices, ((0, 0), (0, indices.shape[1] % 2)))
    return (even[:, ::2] << 4) | even[:, 1::2]


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

"""Undo gzip with the checksum checked, and with a cap on what comes out."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from wholesight.errors import InputError

MAGIC = b"\x1f\x8b"

_CHUNK_OUT = 1 << 20
_CHUNK_IN = 1 << 16  # small: a block-compressed file has thousands of members


def decompress(
    file: BinaryIO, path: Path, *, head: int, size_of: Callable[[bytearray], int], slack: int
) -> bytearray:
    """Decompress every member of a gzip file; what follows the last, padding, is left.

    head, size_of : once `head` bytes are out, size_of(them and some more) tells how many the whole
    has, or refuses it, so that a small file cannot ask for much memory. slack : bytes that may
    follow these. Raises InputError: E_TRUNCATED, E_CRC, E_TOO_LARGE.
    """
    content = bytearray()
    cap: int | None = None
    waiting = file.read(_CHUNK_IN)
    while waiting.startswith(MAGIC):
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            data = member.unconsumed_tail or waiting or file.read(_CHUNK_IN)
            waiting = b"" if data is waiting else waiting
            if not data:
                raise InputError(
                    f"{path}: the file is cut off, the compressed data end too early. "
                    "Copy or convert it again.",
                    code="E_TRUNCATED",
                )
            content += _inflate(member, data, path)
            if cap is None and len(content) >= head:
                cap = size_of(content) + slack
            if cap is not None and len(content) > cap:
                raise InputError(
                    f"{path}: holds more data than its header declares ({cap - slack} bytes). "
                    "It is damaged or not a plain NIfTI file.",
                    code="E_TOO_LARGE",
                )
        waiting = member.unused_data
        if len(waiting) < len(MAGIC):
            waiting += file.read(_CHUNK_IN)
    return content


def _inflate(member: zlib._Decompress, data: bytes, path: Path) -> bytes:
    try:
        return member.decompress(data, _CHUNK_OUT)
    except zlib.error as fault:
        raise InputError(
            f"{path}: the compressed data are damaged ({fault}). Copy the file again.",
            code="E_CRC",
        ) from fault

"""Files that appear whole or not at all, and what a file is known by."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wholesight.errors import InputError, OutputError, UsageError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: a temporary file beside the target, fsync, rename.

    Raises OutputError when the target cannot be written; nothing half-written is left behind.
    """
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as fault:
        raise OutputError(
            f"{path}: cannot be written ({fault.strerror}). "
            "Check that the folder exists, is yours, and that the disk has room."
        ) from fault
    finally:
        # On a read-only disk, or where the parent is no folder, this fails with its own error.
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically. A value that JSON cannot hold (NaN too) is a bug and raises."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def make_folder(path: Path) -> Path:
    """Make an output folder and try a write in it, before any work is done for it.

    Raises OutputError when it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"{path}: this output folder cannot be made ({fault.strerror}). "
            "Choose another --out, or move what is in the way."
        ) from fault
    write_bytes(path / ".wholesight-write-test", b"")
    (path / ".wholesight-write-test").unlink(missing_ok=True)  # two workers may share the folder
    return path


def require_new(path: Path) -> None:
    """Refuse an output folder that holds anything, which would be lost. Raises UsageError."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(
            f"{path}: is there already, and nothing is written over. Choose another --out, or "
            "remove it first."
        )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; of a folder that of all its files'.

    A folder's is that of the hashes of the files that lie in it, sorted by name; what the files are
    called does not count.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        return hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unreadable(path: Path, fault: OSError) -> InputError:
    """Say why a file cannot be read, and what to do."""
    if not isinstance(fault, FileNotFoundError | NotADirectoryError):
        return InputError(
            f"{path}: cannot be read ({fault.strerror}). Check its permissions.", code="E_READ"
        )
    why = (
        "a link to a file that is not here. "
        "In a DataLad or git-annex data set, fetch it first: datalad get <file>."
        if path.is_symlink()
        else "no such file. Check the path."
    )
    return InputError(f"{path}: {why}", code="E_NOT_FOUND")

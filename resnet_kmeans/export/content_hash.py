"""Identifies files by their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

BLOCK = 2**20  # bytes read at a time


class Content(NamedTuple):
    """The properties that identify a file after it was moved or renamed.

    Attributes
    ----------
    size : int
        In bytes.
    mtime_ns : int
        Modification time in nanoseconds. A file with the recorded size and time at its recorded
        path is not read again.
    digest : str
        128-bit BLAKE2b hash of all bytes, in hexadecimal.
    """

    size: int
    mtime_ns: int
    digest: str


def content_of(path: str | os.PathLike[str]) -> Content | None:
    """Return the content of a file, or None if it cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError:
        return None
    return Content(found.st_size, found.st_mtime_ns, digest.hexdigest())


def contents_of(paths: Sequence[str | os.PathLike[str]]) -> list[Content | None]:
    """Return the content of each file, or None where it cannot be read."""
    # Reading and hashing release the GIL, so threads run at the same time.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(content_of, paths))

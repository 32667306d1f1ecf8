"""Replaces a file as a whole."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HIDDEN_PREFIX = ".resnet-kmeans."  # begins the names of our hidden files, unfinished ones too


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new path beside `path`; what is written there replaces `path` if all goes well."""
    # Renaming is atomic: a reader sees the earlier file or the new one. A random name, not the
    # process id, because other threads and machines may write here as well. Keras checks the
    # extension.
    part = path.with_name(f"{HIDDEN_PREFIX}{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield part
        sync(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file, or the list of names in a folder, to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders
    # Windows flushes through a writable handle alone.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

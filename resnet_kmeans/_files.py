"""Replaces a file completely or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HIDDEN_PREFIX = ".resnet-kmeans."  # of the hidden and unfinished files of this package


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; the file written there replaces `path` on success."""
    # Renaming is atomic: a reader sees either the old file or the new one. The name is random,
    # because other threads and machines may write here too, perhaps with the same process id.
    # The extension stays, because Keras checks it.
    part = path.with_name(f"{HIDDEN_PREFIX}{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield part
        sync(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file to the disk, or the list of names in a folder."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders
    # Windows can flush a file only through a writable handle.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

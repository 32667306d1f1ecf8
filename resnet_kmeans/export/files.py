"""Identifies files by their content; copies, links or moves one without losing it."""

import errno
import filecmp
import hashlib
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import joblib

from resnet_kmeans._files import HIDDEN_PREFIX, sync

ACTIONS = ("copy", "hardlink", "symlink", "move")
PART = f"{HIDDEN_PREFIX}part"  # name of the file being written until it is complete
BLOCK = 2**20  # bytes read at a time


def place_file(action: str, source: str, target: Path, part: Path) -> None:
    """Copy, link or move a file to a free path.

    Parameters
    ----------
    action : {"copy", "hardlink", "symlink", "move"}
    source : str
    target : Path
    part : Path
        Temporary path for a copy until it is complete, on the file system of `target`.
    """
    if action == "copy":
        _copy(source, part)
        os.rename(part, target)
    elif action == "hardlink":
        # Linux would link a symbolic link itself, not the file that it points to.
        os.link(os.path.realpath(source), target)
    elif action == "symlink":
        os.stat(source)  # os.symlink does not notice a missing source
        os.symlink(source, target)
    else:
        move(source, target, part)


def _copy(source: str, part: Path) -> None:
    # An interrupted copy may have left a file, read-only like its source.
    part.unlink(missing_ok=True)
    shutil.copy2(source, part)


def move(source: str, target: Path, part: Path) -> None:
    """Move a file; across file systems, copy it before its source is removed.

    Raises
    ------
    FileExistsError
        If a file with other content is at `target`.
    """
    # If the process was killed between the copy and the removal of the source, both exist.
    if os.path.lexists(target):
        if not same_content(source, target):
            raise FileExistsError(errno.EEXIST, "another file has its path", str(target))
        os.unlink(source)
        return
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # "cross-device link": another file system
            raise
        # The copy and its name must be on the disk before the source is removed: in a power
        # failure, the system might keep the removal but lose the copy.
        _copy(source, part)
        sync(part)
        os.rename(part, target)
        sync(target.parent)
        os.unlink(source)


def remove_empty(folder: Path) -> None:
    """Remove a folder if it is empty."""
    if folder.is_dir() and not folder.is_symlink() and not os.listdir(folder):
        folder.rmdir()


def same_content(one: str | Path, other: str | Path) -> bool:
    """Return whether two files have the same content."""
    is_file = os.path.isfile(one) and os.path.isfile(other)
    return is_file and filecmp.cmp(one, other, shallow=False)


class Content(NamedTuple):
    """The properties by which a file is recognized after it was moved or renamed.

    Attributes
    ----------
    size : int
        In bytes.
    mtime_ns : int
        Modification time in nanoseconds. A file that still has the recorded size and time at
        its recorded path is not read again.
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
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        return list(pool.map(content_of, paths))

"""Copies, links, moves and removes single files without losing a content."""

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from resnet_kmeans._files import sync

ACTIONS = ("copy", "hardlink", "symlink", "move")
BLOCK = 2**20  # bytes read at a time


Identity = tuple[int, int, int]  # inode, size, time


class Content(NamedTuple):
    """What a file contains: its size in bytes, and the 128-bit BLAKE2b hash of all of them."""

    size: int
    digest: str


@contextmanager
def open_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a regular file for reading.

    Raises
    ------
    OSError
        Also if it is a pipe, a device or a socket, which could be read for ever.
    """
    # A pipe without a writer would block already while it is opened.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        yield file


def content_of(path: str | os.PathLike[str]) -> Content | None:
    """Return the content of a file, or None if it cannot be read."""
    digest, size = hashlib.blake2b(digest_size=16), 0
    try:
        with open_file(path) as file:
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
    except OSError:
        return None
    return Content(size, digest.hexdigest())


def contents_of(paths: Sequence[str | os.PathLike[str]]) -> list[Content | None]:
    """Return the content of each file, or None where it cannot be read."""
    # Reading and hashing release the GIL, so threads run at the same time.
    with ThreadPoolExecutor() as pool:
        return list(pool.map(content_of, paths))


def identity(found: os.stat_result) -> Identity:
    """Return what tells that a file is still the same one: inode, size and time."""
    return found.st_ino, found.st_size, found.st_mtime_ns


def is_other_copy(other: str | os.PathLike[str], path: str | os.PathLike[str]) -> bool:
    """Return whether `other` proves that nothing is lost if `path` is removed.

    It must be another file, not another name of this one or a link to it, and every byte of both
    was read and is equal.
    """
    try:
        one, two = os.lstat(other), os.lstat(path)
        if not (stat.S_ISREG(one.st_mode) and stat.S_ISREG(two.st_mode)):
            return False
        if (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino) or one.st_size != two.st_size:
            return False
        # `filecmp` would remember the answer for files of the same size and time.
        with open_file(other) as first, open_file(path) as second:
            while (block := first.read(BLOCK)) == second.read(BLOCK):
                if not block:
                    return True
    except OSError:
        pass
    return False


def is_other_name(other: str | os.PathLike[str], path: str | os.PathLike[str]) -> bool:
    """Return whether two paths are different names of one file, so that either may be removed."""
    try:
        one, two = os.lstat(other), os.lstat(path)
        # One name that is reached through two folders is still one name.
        is_other = os.path.realpath(other) != os.path.realpath(path) and two.st_nlink > 1
        return is_other and stat.S_ISREG(one.st_mode) and os.path.samestat(one, two)
    except OSError:
        return False


def place_file(action: str, source: str, target: Path, part: Path) -> None:
    """Copy, link or move a file to a free path.

    Parameters
    ----------
    action : {"copy", "hardlink", "symlink", "move"}
    source : str
    target : Path
    part : Path
        Temporary path for a copy until it is complete, on the file system of `target`.

    Raises
    ------
    FileExistsError
        If another file is at `target`.
    """
    if action == "move":
        move_file(source, target, part)
        return
    _require_free(target)
    if action == "copy":
        _copy(source, part)
        os.rename(part, target)
    elif action == "hardlink":
        # Linux would link a symbolic link itself, not the file that it points to.
        os.link(os.path.realpath(source), target)
    else:
        os.stat(source)  # os.symlink does not notice a missing source
        os.symlink(source, target)


def move_file(source: str | os.PathLike[str], target: Path, part: Path) -> None:
    """Move a file to a free path; across file systems, copy it and compare before it goes.

    Raises
    ------
    FileExistsError
        If a file with other content is at `target`.
    """
    # If the process was killed between the copy and the removal of the source, both exist.
    if os.path.lexists(target) and is_other_copy(target, source):
        remove_file(source)
        return
    _require_free(target)
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # "cross-device link": another file system
            raise
        # The copy and its name must be on the disk before the source is removed: in a power
        # failure, the system might keep the removal but lose the copy.
        _copy(source, part)
        part.chmod(stat.S_IREAD | stat.S_IWRITE)  # a read-only file cannot be synced
        sync(part)
        shutil.copymode(source, part)
        if not is_other_copy(part, source):
            raise OSError(errno.EIO, "the copy differs from its source", str(part)) from error
        os.rename(part, target)
        sync(target.parent)
        remove_file(source)


def rename_file(source: str, target: str) -> None:
    """Rename a file within a file system, to a free path.

    Raises
    ------
    FileExistsError
        If another file is at `target`.
    """
    _require_free(target)
    os.rename(source, target)


def _require_free(target: str | os.PathLike[str]) -> None:
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "another file has its path", str(target))


def _copy(source: str | os.PathLike[str], part: Path) -> None:
    # An interrupted copy may have left a file, read-only like its source.
    if os.path.lexists(part):
        remove_file(part)
    shutil.copy2(source, part)


def remove_file(path: str | os.PathLike[str]) -> None:
    """Remove a file, read-only or not."""
    try:
        os.unlink(path)
    except PermissionError:
        if os.name != "nt" or os.access(path, os.W_OK):
            raise
        os.chmod(path, stat.S_IWRITE)  # Windows removes no read-only file
        os.unlink(path)


def remove_emptied(root: Path, left: Iterable[str]) -> None:
    """Remove folders that files were moved from, and their parents, if they are empty now."""
    for parent in map(Path, {os.path.dirname(path) for path in left}):
        for folder in [parent, *parent.parents][:-1]:  # all but the root itself
            remove_empty(root / folder)


def remove_empty(folder: Path) -> None:
    """Remove a folder if it is empty."""
    if folder.is_dir() and not folder.is_symlink() and not os.listdir(folder):
        folder.rmdir()

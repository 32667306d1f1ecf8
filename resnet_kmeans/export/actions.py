"""Copies, links, moves or writes one file, so that a kill at any moment loses nothing."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

ACTIONS = ("copy", "hardlink", "symlink", "move")
PART = ".resnet-kmeans.part"  # the one file being written, renamed when it is whole


def put(action: str, source: str, target: Path, part: Path) -> None:
    """Put a file where nothing is yet; `part` is the name it has until it is whole."""
    if action == "copy":
        _copy(source, part)
        os.rename(part, target)
    elif action == "hardlink":
        os.link(os.path.realpath(source), target)
    elif action == "symlink":
        os.stat(source)  # a link to nothing would be no error
        os.symlink(source, target)
    else:
        move(source, target, part)


def _copy(source: str, part: Path) -> None:
    part.unlink(missing_ok=True)  # left by a kill, perhaps as read-only as its source
    shutil.copy2(source, part)


def move(source: str, target: Path, part: Path) -> None:
    """Rename a file, or copy it to another file system before the source goes.

    Raises
    ------
    FileExistsError
        If another file is at `target`; the same content there is what a kill between the
        copy and the removal of the source leaves, and the source is removed then.
    """
    if os.path.lexists(target):
        if not is_same(source, target):
            raise FileExistsError(errno.EEXIST, "another file is in its place", str(target))
        os.unlink(source)
        return
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, part)
        _sync(part)
        os.rename(part, target)
        _sync(target.parent)
        os.unlink(source)


def write_whole(path: Path, lines: Iterable[str] | bytes) -> None:
    """Write a file beside its place, then rename it."""
    part = path.with_name(PART)
    part.unlink(missing_ok=True)  # of a read-only image, where a copy was killed
    with open(part, "wb") as file:
        if isinstance(lines, bytes):
            file.write(lines)
        else:  # names that are no valid UTF-8 are escaped
            file.writelines(line.encode("utf-8", "backslashreplace") for line in lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def remove_empty(folder: Path) -> None:
    """Remove a folder unless something is in it."""
    if folder.is_dir() and not folder.is_symlink() and not os.listdir(folder):
        folder.rmdir()


def is_same(one: str | Path, other: str | Path) -> bool:
    """Return whether two files have the same content."""
    is_file = os.path.isfile(one) and os.path.isfile(other)
    return is_file and filecmp.cmp(one, other, shallow=False)


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before the source is removed."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

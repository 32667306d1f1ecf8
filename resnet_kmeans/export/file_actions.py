"""Copies, links, moves or writes one file without losing it if the process is killed."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

ACTIONS = ("copy", "hardlink", "symlink", "move")
PART = ".resnet-kmeans.part"  # name of the file being written until it is complete


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
    # An interrupted copy may have left a file that is read-only like its source.
    part.unlink(missing_ok=True)
    shutil.copy2(source, part)


def move(source: str, target: Path, part: Path) -> None:
    """Move a file; across file systems, copy it before its source is removed.

    Raises
    ------
    FileExistsError
        If a file with other content is at `target`.
    """
    # A kill between the copy and the removal of the source leaves both.
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
        # The copy and its name must be on the disk before the source is removed: after a
        # power failure, the system may have kept the removal and lost the copy.
        _copy(source, part)
        _sync(part)
        os.rename(part, target)
        _sync(target.parent)
        os.unlink(source)


def write_atomically(path: Path, lines: Iterable[str] | bytes) -> None:
    """Write a temporary file in the same folder, then rename it to `path`."""
    part = path.with_name(PART)
    part.unlink(missing_ok=True)  # an interrupted copy of a read-only image cannot be opened
    with open(part, "wb") as file:
        if isinstance(lines, bytes):
            file.write(lines)
        else:  # file names may contain bytes that are not valid UTF-8
            file.writelines(line.encode("utf-8", "backslashreplace") for line in lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def remove_empty(folder: Path) -> None:
    """Remove a folder if it is empty."""
    if folder.is_dir() and not folder.is_symlink() and not os.listdir(folder):
        folder.rmdir()


def same_content(one: str | Path, other: str | Path) -> bool:
    """Return whether two files have the same content."""
    is_file = os.path.isfile(one) and os.path.isfile(other)
    return is_file and filecmp.cmp(one, other, shallow=False)


def _sync(path: Path) -> None:
    """Flush a file, or the list of names in a folder, to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

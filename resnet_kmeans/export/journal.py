"""Keeps an export's plan in its folder, until it has been carried out or taken back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from resnet_kmeans.exceptions import OutputFolderError, printable
from resnet_kmeans.export.actions import ACTIONS
from resnet_kmeans.export.plan import PART, ExportedImage

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

JOURNAL = ".resnet-kmeans.jsonl"
FORMAT = 1


class Journal(NamedTuple):
    """What is to be done in a folder, or was done there once it is finished."""

    action: str
    plan: list[ExportedImage]
    finished: bool


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the system lets go of it even when that is killed.

    Two processes that finish one export would write to the same files.

    Raises
    ------
    OutputFolderError
        If another process holds it, or it cannot be opened.
    """
    if fcntl is None:
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise OutputFolderError(
            f"Expected the folder of an export, got {printable(folder)}: {error.strerror}. "
            "Nothing was done. Check the path."
        ) from error
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    with suppress(OSError):  # some network file systems know no locks
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputFolderError(
                f"Expected {printable(folder)} for this process alone, but another one exports "
                "to it now. Nothing was done. Wait for it, or choose another folder."
            ) from None


def write_journal(folder: Path, journal: Journal) -> None:
    """Write the whole plan, at once or not at all."""
    header = {"format": FORMAT, "action": journal.action, "finished": journal.finished}
    write_whole(folder / JOURNAL, (json.dumps(line) + "\n" for line in [header, *journal.plan]))


def read_journal(folder: Path) -> Journal:
    """Read the plan of an export.

    Raises
    ------
    OutputFolderError
        If there is none, or it is not one that can be carried out.
    """
    try:
        with open(folder / JOURNAL, encoding="ascii") as lines:
            header, *rows = map(json.loads, lines)
        plan = [ExportedImage(*row) for row in rows]
        if header["format"] > FORMAT or header["action"] not in ACTIONS:
            raise ValueError("of a newer format")
        if not all(_is_inside(image.exported_path) for image in plan):
            raise ValueError("with paths outside the folder")
        return Journal(header["action"], plan, bool(header["finished"]))
    except FileNotFoundError:
        got = "a folder without one"
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        got = f"one that cannot be read ({printable(error)})"
    raise OutputFolderError(
        f"Expected the journal of an export in {printable(folder)}, got {got}. Nothing was "
        "done. Check the path."
    )


def _is_inside(path: str | None) -> bool:
    return path is None or not (os.path.isabs(path) or ".." in Path(path).parts)


def write_whole(path: Path, lines: Iterable[str]) -> None:
    """Write a text file beside its place, then rename it."""
    part = path.with_name(PART)
    part.unlink(missing_ok=True)  # of a read-only image, where a copy was killed
    # Names that are no valid UTF-8 are kept whole in the journal, escaped in the table.
    with open(part, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)

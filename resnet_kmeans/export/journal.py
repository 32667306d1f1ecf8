"""Reads and writes the journal: the hidden file in which an export records its images."""

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from resnet_kmeans._files import replacing
from resnet_kmeans._folder_names import JOURNAL
from resnet_kmeans.exceptions import OutputFolderError, printable
from resnet_kmeans.export.files import ACTIONS, Content
from resnet_kmeans.export.table import ExportedImage

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT = 3
ABSENT = os.strerror(errno.ENOENT)
COMMANDS = ("export", "apply", "split", "add", "undo")


class Record(NamedTuple):
    """One image of an export.

    Attributes
    ----------
    image : ExportedImage
        Its row in ``clusters.csv`` once the plan has been carried out.
    action : str
        How it was put into the folder: "copy", "hardlink", "symlink" or "move".
    first_path : str or None
        Its first path in the folder.
    content : Content or None
        Identifies the image after it was moved by hand; None if it was never read.
    present_path : str or None
        Where the image is until the plan has been carried out: a path in the folder, or an
        empty string if it is still at its source. None if nothing is planned for it.
    """

    image: ExportedImage
    action: str
    first_path: str | None
    content: Content | None = None
    present_path: str | None = None


class Journal(NamedTuple):
    """The contents of an export, and what is still to be done.

    Attributes
    ----------
    id : str
        Identifies the export; never changes.
    action : str
        The action of the command that made the export.
    command : {"export", "apply", "split", "add", "undo"}
        The last command; it was interrupted if `finished` is False.
    finished : bool
    folders : list of str
        The folder of each label.
    centers : list of int
        The label of each center of the saved model. After clusters were merged or split, labels
        and positions of centers differ.
    distance_limit : float or None
        The distance to the center that 99% of the images of the fit do not exceed. New images
        that are farther away fit badly.
    model : str or None
        File name of the model saved in the folder.
    staged : bool
        Whether the images that swap paths have all been moved to the staging folder.
    other_files : list of pairs of str
        Files that are not part of the export, but move along with a renamed folder: present
        and new path.
    records : list of Record
    """

    id: str
    action: str
    command: str
    finished: bool
    folders: list[str]
    centers: list[int]
    distance_limit: float | None
    model: str | None
    staged: bool
    other_files: list[tuple[str, str]]
    records: list[Record]

    @property
    def images(self) -> list[ExportedImage]:
        """The rows of ``clusters.csv``."""
        return [record.image for record in self.records]


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Lock a folder; the lock is released even if the process is killed.

    Raises
    ------
    OutputFolderError
        If another process holds the lock, or the folder cannot be opened.
    """
    # Two processes that carry out the same plan would write to the same temporary file.
    if fcntl is None:
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _not_an_export(folder, str(error.strerror)) from error
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    with suppress(OSError):  # some network file systems do not support locks
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputFolderError(
                f"Another process is writing to {printable(folder)}. Nothing was done. Wait "
                "until it has finished, or choose another folder."
            ) from None


def write_journal(folder: Path, journal: Journal) -> None:
    """Replace the journal of a folder, atomically."""
    header = {"format": FORMAT, **journal._asdict()}
    lines = [header, *header.pop("records")]
    with replacing(folder / JOURNAL) as part, open(part, "w", encoding="ascii") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def read_journal(folder: Path) -> Journal:
    """Read the journal of an export.

    Raises
    ------
    OutputFolderError
        If there is no journal, or if it is damaged, has a newer format, or names paths outside
        the folder.
    """
    try:
        with open(folder / JOURNAL, encoding="ascii") as lines:
            header, *rows = map(json.loads, lines)
        number = header.pop("format")
        if number != FORMAT or header["action"] not in ACTIONS:
            raise ValueError(f"of format {number}; this version reads {FORMAT}")
        journal = _from_lines(header, rows)
        _check_inside(journal)
        return journal
    except FileNotFoundError:
        # Undoing an export removes the journal last.
        is_there = folder.exists()
        reason = "it has no journal, or the export was undone" if is_there else ABSENT
    except NotADirectoryError:
        reason = "a file, not a folder"
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"its journal cannot be read ({printable(error)})"
    raise _not_an_export(folder, reason)


def _not_an_export(folder: Path, reason: str) -> OutputFolderError:
    return OutputFolderError(
        f"There is no export that can be read in {printable(folder)}: {reason}. Nothing was done. "
        "Check the path."
    )


def _from_lines(header: dict[str, Any], rows: list[Any]) -> Journal:
    records = []
    for image, action, first_path, content, before in rows:
        known = None if content is None else Content(*content)
        records.append(Record(ExportedImage(*image), action, first_path, known, before))
    other_files = [(before, after) for before, after in header.pop("other_files")]
    journal = Journal(**header, other_files=other_files, records=records)
    if journal.command not in COMMANDS or {r.action for r in records} - set(ACTIONS):
        raise ValueError("of a newer format")
    return journal


def distance_limit_of(images: Sequence[ExportedImage]) -> float | None:
    """Return the distance that 99% of the images do not exceed, or None if none is known."""
    known = sorted(i.distance for i in images if i.distance is not None)
    rank = -(-99 * len(known) // 100)  # rounded up, in integers: 0.99 * n may be inexact
    return known[max(0, rank - 1)] if known else None


def _check_inside(journal: Journal) -> None:
    """Raise an error if a path leads outside the folder."""
    # Exports are shared, and `undo` moves files, so the journal of a stranger must do no harm.
    paths: list[str | None] = [journal.model, *journal.folders]
    paths += [path for other_file in journal.other_files for path in other_file]
    for record in journal.records:
        paths += [record.image.exported_path, record.first_path, record.present_path]
    if any(p and (os.path.isabs(p) or ".." in Path(p).parts) for p in paths):
        raise ValueError("with paths outside the folder")

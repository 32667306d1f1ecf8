"""Keeps in the folder of an export what it holds, until all has been taken back."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from resnet_kmeans.exceptions import OutputFolderError, printable
from resnet_kmeans.export.actions import ACTIONS, write_whole
from resnet_kmeans.export.content import Content
from resnet_kmeans.export.names import folder_of, name_folders
from resnet_kmeans.export.plan import JOURNAL, ExportedImage

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT = 2
COMMANDS = ("export", "apply", "split", "add", "undo")


class Record(NamedTuple):
    """One image of an export.

    Attributes
    ----------
    image : ExportedImage
        How the table lists it once what is planned has been done.
    action : str
        How it came into the folder.
    first_path : str or None
        Where in the folder it was put at first.
    content : Content or None
        What it is recognised by; None where it was never known.
    before : str or None
        Where it is until what is planned has been done: a path in the folder, or empty for
        its source. None where nothing is planned for it.
    """

    image: ExportedImage
    action: str
    first_path: str | None
    content: Content | None = None
    before: str | None = None


class Journal(NamedTuple):
    """What a folder holds, or will once what is planned there is finished.

    Attributes
    ----------
    id : str
        Of this export; kept by all that is done to it.
    action : str
        Of the command that made it.
    command : {"export", "apply", "split", "add", "undo"}
        What was done last, or was interrupted.
    finished : bool
    request : dict
        What was asked for, by which the same request is known again.
    folders : list of str
        The folder of each label.
    centers : list of int
        The label of each centre of the kept model.
    far : float or None
        The distance to their centre that 99 % of the images of the fit do not exceed.
    model : str or None
        File name of the kept model.
    staged : bool
        Whether images that take each other's places are all out of the way.
    strays : list of pairs of str
        Files of others to be taken along with a renamed folder: from where, to where.
    records : list of Record
    """

    id: str
    action: str
    command: str
    finished: bool
    request: dict[str, Any]
    folders: list[str]
    centers: list[int]
    far: float | None
    model: str | None
    staged: bool
    strays: list[tuple[str, str]]
    records: list[Record]

    @property
    def images(self) -> list[ExportedImage]:
        """The rows of the table."""
        return [record.image for record in self.records]


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Lock a folder; the lock is released even if the process is killed.

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
    """Write the journal, at once or not at all."""
    header = {"format": FORMAT, **journal._asdict()}
    lines = [header, *header.pop("records")]
    write_whole(folder / JOURNAL, (json.dumps(line) + "\n" for line in lines))


def read_journal(folder: Path) -> Journal:
    """Read what an export holds.

    Raises
    ------
    OutputFolderError
        If there is no journal, or it is not one that can be trusted.
    """
    try:
        with open(folder / JOURNAL, encoding="ascii") as lines:
            header, *rows = map(json.loads, lines)
        number = header.pop("format")
        if number > FORMAT or header["action"] not in ACTIONS:
            raise ValueError("of a newer format")
        journal = _from_format_1(header, rows) if number == 1 else _from_lines(header, rows)
        _check_inside(journal)
        return journal
    except FileNotFoundError:
        got = "a folder without one"
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        got = f"one that cannot be read ({printable(error)})"
    raise OutputFolderError(
        f"Expected the journal of an export in {printable(folder)}, got {got}. Nothing was "
        "done. Check the path."
    )


def _from_lines(header: dict[str, Any], rows: list[Any]) -> Journal:
    records = []
    for image, action, first_path, content, before in rows:
        known = None if content is None else Content(*content)
        records.append(Record(ExportedImage(*image), action, first_path, known, before))
    strays = [(before, after) for before, after in header.pop("strays")]
    journal = Journal(**header, strays=strays, records=records)
    if journal.command not in COMMANDS or {r.action for r in records} - set(ACTIONS):
        raise ValueError("of a newer format")
    return journal


def _from_format_1(header: Mapping[str, Any], rows: Sequence[Any]) -> Journal:
    """Return the journal of an export by version 0.1, which knew no names and no contents."""
    finished, action = bool(header["finished"]), header["action"]
    n_labels = max([int(row[0]) + 1 for row in rows] or [1])
    folders = name_folders(max(n_labels, 1))
    records = []
    for cluster, path, source, *rest in rows:
        name = "" if path is None else folder_of(path)
        if cluster >= 0:
            folders[cluster] = name
        image = ExportedImage(cluster, name, path, source, *rest)
        before = None if finished or path is None else ""
        records.append(Record(image, action, path, None, before))
    return Journal(
        id=hashlib.blake2b(json.dumps(rows).encode(), digest_size=8).hexdigest(),
        action=action,
        command="export",
        finished=finished,
        request={},
        folders=folders,
        centers=[],
        far=far_distance([record.image for record in records]),
        model=None,
        staged=False,
        strays=[],
        records=records,
    )


def far_distance(images: Sequence[ExportedImage]) -> float | None:
    """Return the distance that 99 % of the images do not exceed, None where none is known."""
    known = sorted(i.distance for i in images if i.distance is not None)
    return known[max(0, -(-99 * len(known) // 100) - 1)] if known else None


def _check_inside(journal: Journal) -> None:
    """Refuse paths outside the folder: a journal is a file that anyone can have written."""
    paths: list[str | None] = [journal.model, *journal.folders]
    paths += [path for stray in journal.strays for path in stray]
    for record in journal.records:
        paths += [record.image.exported_path, record.first_path, record.before]
    if any(p and (os.path.isabs(p) or ".." in Path(p).parts) for p in paths):
        raise ValueError("with paths outside the folder")

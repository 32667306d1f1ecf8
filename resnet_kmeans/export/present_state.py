"""Compares the journal of an export with what is in its folder now."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from resnet_kmeans._folder_names import JOURNAL, folder_of, label_of
from resnet_kmeans.exceptions import OutputFolderError, printable
from resnet_kmeans.export.files import contents_of
from resnet_kmeans.export.journal import Journal, Record, read_journal
from resnet_kmeans.export.survey import Survey, survey
from resnet_kmeans.export.table import ExportedImage


@dataclass(frozen=True)
class ExportState:
    """The present contents of an export, and how they differ from its journal.

    Attributes
    ----------
    id : str
        Identifies the export; never changes.
    folders : list of str
        The present folder of each label.
    centers : list of int
        The label of each center of the saved model.
    images : list of ExportedImage
        The images with their present paths, including unreadable images but not missing ones.
    moved : dict of str to str
        Recorded and present path of each image that was moved or renamed by hand.
    missing : dict of str to str
        Recorded path and source of each image that is not in the folder.
    added : list of str
        Files that were added by hand.
    """

    id: str
    folders: list[str]
    centers: list[int]
    images: list[ExportedImage]
    moved: dict[str, str]
    missing: dict[str, str]
    added: list[str]


def read_export(output_folder: str | os.PathLike[str]) -> ExportState:
    """Read the present contents of an export.

    Images that were renamed or moved by hand within the folder are found by their content.
    Nothing is written.

    Parameters
    ----------
    output_folder : str or path-like
        The folder of a finished export.

    Raises
    ------
    OutputFolderError
        If the folder is not an export, or a command on it was interrupted.
    """
    folder = Path(output_folder)
    written = read_journal(folder)
    present, found = open_export(folder, written)
    pairs = [
        (old.image, new.image, place)
        for old, new, place in zip(written.records, present.records, found.places)
    ]
    return ExportState(
        id=written.id,
        folders=present.folders,
        centers=present.centers,
        images=[new for _, new, place in pairs if place or not new.exported_path],
        moved={
            p: place for old, _, place in pairs if place and place != (p := old.exported_path) and p
        },
        missing={
            p: old.source_path
            for old, _, place in pairs
            if place is None and (p := old.exported_path)
        },
        added=found.others,
    )


def open_export(folder: Path, journal: Journal) -> tuple[Journal, Survey]:
    """Return the journal of a finished export with present paths, and the survey of its files."""
    require_finished(folder, journal)
    found = survey(folder, journal)
    return with_places(journal, folder, found), found


def unfinished_journal(output_folder: str | os.PathLike[str]) -> Journal | None:
    """Return the journal of an export if a command on it was interrupted, else None."""
    folder = Path(output_folder)
    journal = read_journal(folder) if os.path.exists(folder / JOURNAL) else None
    return None if journal is None or journal.finished else journal


def require_finished(folder: Path, journal: Journal) -> None:
    """Check that no command on an export was interrupted.

    Raises
    ------
    OutputFolderError
        If a command was interrupted. The message says which one, and how to finish or undo it.
    """
    if journal.finished:
        return
    place = printable(folder)
    what = "export" if journal.command == "export" else f"command {journal.command!r}"
    back = f", or undo it with: resnet-kmeans undo {place}" if can_undo(journal) else ""
    raise OutputFolderError(
        f"In {place}, the {what} with action={journal.action!r} was interrupted. Nothing was "
        f"done. Finish it with: resnet-kmeans finish {place}{back}."
    )


def can_undo(journal: Journal) -> bool:
    """Return whether `undo_export` applies to an export."""
    # Undoing a finished export of copies would only delete files, which users can do on their
    # own. An interrupted one is half done, and users may want to have an empty folder again.
    moved = journal.action == "move" or any(r.action == "move" for r in journal.records)
    return moved or (journal.command in ("export", "undo") and not journal.finished)


def with_places(journal: Journal, folder: Path, found: Survey) -> Journal:
    """Return a finished journal with the present path of each image."""
    folders = _present_folders(journal, folder, found)
    records = [
        record if place is None else _placed(record, place, folders)
        for record, place in zip(journal.records, found.places)
    ]
    return journal._replace(folders=folders, records=records)


def _present_folders(journal: Journal, root: Path, found: Survey) -> list[str]:
    """Return the present folder of each label, even if it was renamed by hand."""
    # A missing folder is taken to be renamed to the folder that has most of its images.
    folders = list(journal.folders)
    for label, folder in enumerate(folders):
        if (root / folder).is_dir():
            continue
        pairs = zip(journal.records, found.places)
        now = Counter(folder_of(p) for r, p in pairs if p and r.image.cluster == label)
        del now[""]  # images in the root are in no folder
        folders[label] = max(now, key=lambda name: now[name]) if now else folder
    return folders


def _placed(record: Record, path: str, folders: list[str]) -> Record:
    """Return a record with the present path of its image."""
    image, folder = record.image, folder_of(path)
    label = label_of(folder, folders, image.cluster)
    if path == image.exported_path and label == image.cluster:
        return record._replace(image=image._replace(name=folder))
    # The distance and reason of another cluster would be wrong here.
    distance = image.distance if label == image.cluster else None
    reason = image.reason if label == image.cluster else ""
    image = ExportedImage(label, folder, path, image.source_path, distance, reason)
    return record._replace(image=image)


def with_contents(journal: Journal, folder: Path, found: Survey) -> Journal:
    """Return a journal with the present content of each image."""
    records = list(journal.records)
    unknown = [
        i
        for i, place in enumerate(found.places)
        if place and (records[i].content is None or _has_changed(folder / place, records[i]))
    ]
    contents = contents_of([folder / str(found.places[i]) for i in unknown])
    for i, content in zip(unknown, contents):
        records[i] = records[i]._replace(content=content)
    return journal._replace(records=records)


def _has_changed(path: Path, record: Record) -> bool:
    known = record.content
    # The content of a symbolic link is that of a file that the user may edit.
    if known is None or record.action == "symlink":
        return False
    now = path.stat()
    return (now.st_size, now.st_mtime_ns) != (known.size, known.mtime_ns)

"""Tells what an export holds now, whatever hands have done to its folder."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_kmeans.exceptions import OutputFolderError, printable
from resnet_kmeans.export.content import contents_of
from resnet_kmeans.export.journal import Journal, Record, read_journal
from resnet_kmeans.export.names import folder_of, label_of
from resnet_kmeans.export.plan import JOURNAL, ExportedImage
from resnet_kmeans.export.survey import Survey, survey


@dataclass(frozen=True)
class ExportState:
    """What an export holds now, and how that differs from what is written.

    Attributes
    ----------
    folder : Path
    id : str
        Of the export, kept by all that is done to it.
    action : str
        Of the command that made it.
    folders : list of str
        The folder of each label, as it is called now.
    centers : list of int
        The label of each centre of the model that the export keeps.
    images : list of ExportedImage
        As they lie now; without those that are missing, with unreadable ones.
    moved : dict of str to str
        From which path to which an image was moved or renamed by hand.
    missing : dict of str to str
        Path in the folder and source of each image that is not found.
    added : list of str
        Files that were put there by hand.
    """

    folder: Path
    id: str
    action: str
    folders: list[str]
    centers: list[int]
    images: list[ExportedImage]
    moved: dict[str, str]
    missing: dict[str, str]
    added: list[str]

    @property
    def is_changed(self) -> bool:
        """Whether hands have been at work."""
        return bool(self.moved or self.missing or self.added)


def read_export(output_folder: str | os.PathLike[str]) -> ExportState:
    """Read what an export holds now.

    Images that were renamed or moved by hand within the folder are found by their content.
    Nothing is written.

    Parameters
    ----------
    output_folder : str or path-like
        The folder of a finished export.

    Raises
    ------
    OutputFolderError
        If the folder holds no export, or what is done there was interrupted.
    """
    folder = Path(output_folder)
    written = read_journal(folder)
    require_finished(folder, written)
    found = survey(folder, written)
    present = as_found(written, folder, found)
    pairs = [
        (old.image, new.image, place)
        for old, new, place in zip(written.records, present.records, found.places)
    ]
    return ExportState(
        folder=folder,
        id=written.id,
        action=written.action,
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
    """Return the journal of a finished export as its folder is now, and what was found there."""
    require_finished(folder, journal)
    found = survey(folder, journal)
    return as_found(journal, folder, found), found


def is_unfinished(folder: str | os.PathLike[str]) -> bool:
    """Return whether a command on this folder was interrupted."""
    return os.path.exists(Path(folder, JOURNAL)) and not read_journal(Path(folder)).finished


def matches_request(journal: Journal, request: Mapping[str, Any]) -> bool:
    """Return whether an interrupted command is the one that is asked for now.

    What is to be done afterwards, under ``"then"``, may differ.
    """
    if journal.finished or journal.command == "undo" or not journal.request:
        return False
    asked = json.loads(json.dumps(dict(request)))  # tuples are lists there
    return {**journal.request, "then": None} == {**asked, "then": None}


def require_finished(folder: Path, journal: Journal) -> None:
    """Refuse to go on with an export that another command left unfinished.

    Raises
    ------
    OutputFolderError
        Names what was interrupted and how to end it.
    """
    if journal.finished:
        return
    place = printable(folder)
    asked = ", ".join(f"{k} {printable(v)}" for k, v in journal.request.items() if _is_short(k, v))
    what = "export" if journal.command == "export" else f"command {journal.command!r}"
    back = f", or take it back with: resnet-kmeans undo {place}" if can_take_back(journal) else ""
    raise OutputFolderError(
        f"Expected a finished export, got {place}, where the {what} with "
        f"action={journal.action!r} was interrupted ({asked or 'of an earlier version'}). Nothing "
        f"was done. Finish it with the same command or with: resnet-kmeans finish {place}{back}."
    )


def can_take_back(journal: Journal) -> bool:
    """Return whether `undo_export` does something: what was only copied or linked may stay.

    Where that was interrupted before it was of use, the half of it can be taken back.
    """
    moved = journal.action == "move" or any(r.action == "move" for r in journal.records)
    return moved or (journal.command in ("export", "undo") and not journal.finished)


def _is_short(key: str, value: Any) -> bool:
    return key not in ("then", "recipe") and value is not None and len(str(value)) < 200


def as_found(journal: Journal, folder: Path, found: Survey) -> Journal:
    """Return a finished journal with each image where it was found."""
    folders = _present_folders(journal, folder, found)
    records = [
        record if place is None else _placed(record, place, folders)
        for record, place in zip(journal.records, found.places)
    ]
    return journal._replace(folders=folders, records=records)


def _present_folders(journal: Journal, root: Path, found: Survey) -> list[str]:
    """Follow folders that were renamed by hand: where most of their images are now."""
    folders = list(journal.folders)
    for label, folder in enumerate(folders):
        if (root / folder).is_dir():
            continue
        pairs = zip(journal.records, found.places)
        now = Counter(folder_of(p) for r, p in pairs if p and r.image.cluster == label)
        del now[""]  # the root is no cluster's folder
        folders[label] = max(now, key=lambda name: now[name]) if now else folder
    return folders


def _placed(record: Record, path: str, folders: list[str]) -> Record:
    """Return the record of an image that lies at `path`."""
    image, folder = record.image, folder_of(path)
    label = label_of(folder, folders, image.cluster)
    if path == image.exported_path and label == image.cluster:
        return record._replace(image=image._replace(name=folder))
    distance = image.distance if label == image.cluster else None
    reason = image.reason if label == image.cluster else ""
    image = ExportedImage(label, folder, path, image.source_path, distance, reason)
    return record._replace(image=image)


def with_contents(journal: Journal, folder: Path, found: Survey) -> Journal:
    """Return a journal that knows the content of each image as it lies there now."""
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
    if known is None or record.action == "symlink":
        return False
    now = path.stat()
    return (now.st_size, now.st_mtime_ns) != (known.size, known.mtime_ns)

"""Brings the images of an export back to where they came from."""

from __future__ import annotations

import os
from pathlib import Path

from resnet_kmeans.exceptions import OutputFolderError, list_reasons, printable
from resnet_kmeans.export.actions import PART, is_same, move
from resnet_kmeans.export.content import content_of
from resnet_kmeans.export.execution import explain_disk_errors, remove_emptied, remove_own_files
from resnet_kmeans.export.journal import Journal, Record, lock, read_journal, write_journal
from resnet_kmeans.export.state import can_take_back
from resnet_kmeans.export.survey import survey


def undo_export(output_folder: str | os.PathLike[str]) -> list[str]:
    """Bring the images that were moved to an export back, whatever became of it since.

    Images that were renamed or moved by hand within the folder are found by their content.
    Copies and links that were added, or that an interrupted export has made so far, go where
    their source is still the same. The folder is left without our files, and goes when nothing
    else is in it; where an image cannot be brought back, the journal and the table stay.

    Parameters
    ----------
    output_folder : str or path-like
        Where images were moved to, by a finished command or not.

    Returns
    -------
    list of str
        The paths that are back.

    Raises
    ------
    OutputFolderError
        If images were not moved; or if some are not found, or another file is in the place
        of one by now: these are named, the others are brought back all the same.
    """
    folder = Path(output_folder)
    with lock(folder):
        journal = read_journal(folder)
        if not can_take_back(journal):
            raise OutputFolderError(
                f"Expected images that were moved, got action={journal.action!r} in "
                f"{printable(folder)}. The originals never left their place. Nothing was done; "
                "delete the folder if you do not want it."
            )
        with explain_disk_errors(folder):
            return _bring_back(folder, journal)


def _bring_back(folder: Path, journal: Journal) -> list[str]:
    places = survey(folder, journal).places
    pairs = list(zip(journal.records, places))
    if journal.command != "undo" or journal.finished:
        # Paths are where they were found: what was planned is no longer, so that the folders
        # that this left or made must go now, if nothing is in them.
        planned = [(r.before, r.image.exported_path) for r in journal.records]
        remove_emptied(folder, (path for pair in planned for path in pair if path))
        records = [_at(record, place) for record, place in pairs]
        journal = journal._replace(command="undo", finished=False, staged=False, strays=[])
        journal = journal._replace(records=records)
        write_journal(folder, journal)
    stuck = {place: why for r, place in pairs if place and (why := _obstacle(folder / place, r))}
    back = [(r, place) for r, place in pairs if place and place not in stuck]
    for record, place in back:
        source = Path(record.image.source_path)
        source.parent.mkdir(parents=True, exist_ok=True)
        move(str(folder / place), source, source.with_name(PART))
    remove_emptied(folder, (place for _, place in back))
    stuck |= {
        str(r.image.exported_path): f"not found; it came from {r.image.source_path}"
        for r, place in pairs
        if place is None and r.image.exported_path and not _is_home(r)
    }
    if stuck:
        left = [r for r, place in pairs if place in stuck or r.image.exported_path in stuck]
        write_journal(folder, journal._replace(finished=True, records=left))
        raise OutputFolderError(
            f"{len(back)} images are back. These cannot be brought back from {printable(folder)} "
            f"now:\n{list_reasons(stuck)}\nIts journal and clusters.csv stay and tell where they "
            "came from. Move other files away or put missing images back into the folder, then "
            "undo again."
        )
    remove_own_files(folder, journal)
    return [r.image.source_path for r, _ in back if r.action == "move"]


def _at(record: Record, place: str | None) -> Record:
    if place is not None:
        return record._replace(image=record.image._replace(exported_path=place), before=None)
    never_came = record.before == ""
    return record._replace(before="" if never_came else None)


def _obstacle(path: Path, record: Record) -> str:
    """Return why an image cannot go back now, empty where it can."""
    source = record.image.source_path
    if not os.path.lexists(source):
        return "" if record.action == "move" else f"its source {source} is gone; this copy stays"
    return "" if is_same(source, path) else f"taken by another file: {source}"


def _is_home(record: Record) -> bool:
    """Return whether an image that is not in the folder is at its source."""
    source = record.image.source_path
    if record.before == "" or record.action != "move":
        return True  # it never left
    if record.content is None:
        return os.path.lexists(source)
    found = content_of(source)
    return found is not None and found.digest == record.content.digest

"""Undoes an export: returns its images to their sources."""

import os
from pathlib import Path

from resnet_kmeans.exceptions import (
    EditedCopiesWarning,
    OutputFolderError,
    list_reasons,
    printable,
    warn_caller,
)
from resnet_kmeans.export.execution import (
    carry_out,
    explain_disk_errors,
    remove_emptied,
    remove_own_files,
)
from resnet_kmeans.export.files import PART, content_of, move, same_content
from resnet_kmeans.export.journal import Journal, Record, lock, read_journal, write_journal
from resnet_kmeans.export.present_state import can_undo, require_finished
from resnet_kmeans.export.survey import survey


def undo_export(output_folder: str | os.PathLike[str]) -> list[str]:
    """Move the images of an export back to where they came from.

    Images that were renamed or moved by hand within the folder are found by their content.
    Copies and links are removed unless they were edited. The files that this package wrote
    (the journal, ``clusters.csv``, the report and the model) are removed too, and so is the
    folder if that leaves it empty. If some images cannot be returned, the journal and
    ``clusters.csv`` stay. In a finished export of copies or links, only images that were moved
    into it later are returned; everything else stays.

    Parameters
    ----------
    output_folder : str or path-like
        The folder of an export, finished or interrupted.

    Returns
    -------
    list of str
        The paths to which images were returned.

    Raises
    ------
    OutputFolderError
        If the export has no moved images. Also if moved images are missing, or if another file
        is at the path where an image came from. The message lists these images; all others are
        returned.

    Warns
    -----
    EditedCopiesWarning
        If copies were edited. They stay in the folder.

    Examples
    --------
    >>> from resnet_kmeans import undo_export
    >>> undo_export("clusters")  # doctest: +SKIP
    ['/home/me/photos/a.jpg', '/home/me/photos/b.jpg']
    """
    folder = Path(output_folder)
    with lock(folder):
        journal = read_journal(folder)
        if not can_undo(journal):
            require_finished(folder, journal)  # an interrupted addition of copies
            raise OutputFolderError(
                f"The export in {printable(folder)} was made with action={journal.action!r}, so "
                "the originals were never moved. Nothing was done. Delete the folder if you do "
                "not need it."
            )
        with explain_disk_errors(folder):
            return _return_images(folder, journal)


def _return_images(folder: Path, journal: Journal) -> list[str]:
    places = survey(folder, journal).places
    pairs = list(zip(journal.records, places))
    kept: list[Record] = []
    if journal.finished and journal.action != "move":
        # No plan is recorded first: after an interruption, returned images are at their sources.
        kept = [record for record in journal.records if record.action != "move"]
        pairs = [(record, place) for record, place in pairs if record.action == "move"]
    elif journal.command != "undo" or journal.finished:
        journal = _drop_plan(folder, journal, places)
    edited = {path for r, place in pairs if (path := _edited_copy(folder, r, place))}
    stuck = {
        place: reason
        for r, place in pairs
        if place and place not in edited and (reason := _reason_stuck(folder / place, r))
    }
    back = [(r, p) for r, p in pairs if p and p not in stuck and p not in edited]
    for record, place in back:
        source = Path(record.image.source_path)
        source.parent.mkdir(parents=True, exist_ok=True)
        move(str(folder / place), source, source.with_name(PART))
    remove_emptied(folder, (place for _, place in back))
    if edited:
        warn_caller(EditedCopiesWarning(sorted(edited)))
    stuck |= {
        str(r.image.exported_path): f"not found; it came from {r.image.source_path}"
        for r, place in pairs
        if place is None and r.image.exported_path and not _is_back(r)
    }
    if stuck:
        # Only these images stay in the journal, so that undoing again returns them.
        left = [r for r, place in pairs if place in stuck or r.image.exported_path in stuck]
        write_journal(folder, journal._replace(finished=True, records=kept + left))
        n_back = sum(record.action == "move" for record, _ in back)
        raise OutputFolderError(
            f"Some images of {printable(folder)} could not be returned ({len(stuck)}):\n"
            f"{list_reasons(stuck)}\nThe other images that were moved are back ({n_back}). The "
            "journal and clusters.csv stay. Move the files in the way, or put missing images back "
            "into the folder, then undo again; or delete the folder if you do not need what is "
            "left."
        )
    if kept:
        carry_out(folder, journal._replace(records=kept))  # writes the table and the journal
    else:
        remove_own_files(folder, journal)
    return [r.image.source_path for r, _ in back if r.action == "move"]


def _drop_plan(folder: Path, journal: Journal, places: list[str | None]) -> Journal:
    """Record that an export is being undone, with the present path of each image."""
    # Removed now, because only the plan knows which folders it made or emptied.
    planned = [(r.present_path, r.image.exported_path) for r in journal.records]
    remove_emptied(folder, (path for pair in planned for path in pair if path))
    records = [_found_at(record, place) for record, place in zip(journal.records, places)]
    journal = journal._replace(command="undo", finished=False, staged=False, other_files=[])
    journal = journal._replace(records=records)
    write_journal(folder, journal)
    return journal


def _found_at(record: Record, place: str | None) -> Record:
    """Return the record of an image that is at `place`, without a plan for it."""
    if place is not None:
        return record._replace(image=record.image._replace(exported_path=place), present_path=None)
    never_came = record.present_path == ""
    return record._replace(present_path="" if never_came else None)


def _edited_copy(folder: Path, record: Record, place: str | None) -> str | None:
    """Return the path of a copy that differs from its source, or None for any other image."""
    # In an interrupted export, the survey does not find an edited copy at its planned path.
    path, source = place or record.image.exported_path, record.image.source_path
    if record.action == "move" or not path or not os.path.lexists(source):
        return None
    is_edited = os.path.isfile(folder / path) and not same_content(source, folder / path)
    return path if is_edited else None


def _reason_stuck(path: Path, record: Record) -> str:
    """Return why an image cannot be returned now, or ''."""
    source = record.image.source_path
    if record.action != "move":
        is_there = os.path.lexists(source)
        return "" if is_there else f"its source {source} is missing, so this copy stays"
    is_free = not os.path.lexists(source) or same_content(source, path)
    return "" if is_free else f"its source path is taken by another file: {source}"


def _is_back(record: Record) -> bool:
    """Return whether an image that is missing from the folder is at its source."""
    source = record.image.source_path
    if record.present_path == "" or record.action != "move":
        return True  # it was never moved
    if record.content is None:
        return os.path.lexists(source)
    found = content_of(source)
    return found is not None and found.digest == record.content.digest

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
    Copies and links are removed unless they were edited. The journal, the table, the report
    and the kept model are removed too, and so is the folder if that leaves it empty. If some
    image cannot be returned, the journal and the table stay. Of a finished export of copies or
    links, only the images that were moved to it later are returned; all else stays.

    Parameters
    ----------
    output_folder : str or path-like
        The folder of an export, which may be interrupted.

    Returns
    -------
    list of str
        The sources to which images were returned.

    Raises
    ------
    OutputFolderError
        If no image was moved. Also if moved images are missing, or their source is taken by
        another file. The message lists them; all others are returned.

    Warns
    -----
    EditedCopiesWarning
        If copies were edited. They stay in the folder.
    """
    folder = Path(output_folder)
    with lock(folder):
        journal = read_journal(folder)
        if not can_undo(journal):
            require_finished(folder, journal)  # an interrupted addition of copies
            raise OutputFolderError(
                f"Expected an export with action='move', got action={journal.action!r} in "
                f"{printable(folder)}. The originals were never moved. Nothing was done. Delete "
                "the folder if you do not need it."
            )
        with explain_disk_errors(folder):
            return _return_images(folder, journal)


def _return_images(folder: Path, journal: Journal) -> list[str]:
    places = survey(folder, journal).places
    pairs = list(zip(journal.records, places))
    kept: list[Record] = []
    if journal.finished and journal.action != "move":
        # Nothing is recorded first: an image that is back is found at its source.
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
        # The journal keeps these images alone, so that undoing again returns them.
        left = [r for r, place in pairs if place in stuck or r.image.exported_path in stuck]
        write_journal(folder, journal._replace(finished=True, records=kept + left))
        n_back = sum(record.action == "move" for record, _ in back)
        raise OutputFolderError(
            f"Expected every image of {printable(folder)} to be there and its source path to be "
            f"free, got {len(stuck)} that could not be returned:\n{list_reasons(stuck)}\nThe other "
            f"images that were moved are back ({n_back}). The journal and clusters.csv stay. Move "
            "other files away or put missing images back into the folder, then undo again; or "
            "delete the folder if you do not need what is left."
        )
    if kept:
        carry_out(folder, journal._replace(records=kept))  # writes the table and the journal
    else:
        remove_own_files(folder, journal)
    return [r.image.source_path for r, _ in back if r.action == "move"]


def _drop_plan(folder: Path, journal: Journal, places: list[str | None]) -> Journal:
    """Record that an export is being undone, with each image where it is now."""
    # Folders that an interrupted plan made or emptied would be forgotten with the plan.
    planned = [(r.present_path, r.image.exported_path) for r in journal.records]
    remove_emptied(folder, (path for pair in planned for path in pair if path))
    records = [_found_at(record, place) for record, place in zip(journal.records, places)]
    journal = journal._replace(command="undo", finished=False, staged=False, other_files=[])
    journal = journal._replace(records=records)
    write_journal(folder, journal)
    return journal


def _found_at(record: Record, place: str | None) -> Record:
    """Return the record of an image that is at `place`, with nothing planned for it."""
    if place is not None:
        return record._replace(image=record.image._replace(exported_path=place), present_path=None)
    never_came = record.present_path == ""
    return record._replace(present_path="" if never_came else None)


def _edited_copy(folder: Path, record: Record, place: str | None) -> str | None:
    """Return the path of a copy that differs from its source, or None for any other image."""
    # The survey does not find an edited copy of an interrupted export, whose path is planned.
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
        return "" if is_there else f"its source {source} is missing; this copy stays"
    is_free = not os.path.lexists(source) or same_content(source, path)
    return "" if is_free else f"taken by another file: {source}"


def _is_back(record: Record) -> bool:
    """Return whether an image that is not in the folder is at its source."""
    source = record.image.source_path
    if record.present_path == "" or record.action != "move":
        return True  # it was never moved
    if record.content is None:
        return os.path.lexists(source)
    found = content_of(source)
    return found is not None and found.digest == record.content.digest

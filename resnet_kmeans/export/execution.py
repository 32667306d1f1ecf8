"""Carries out the plan of a journal, from the start or from where it was interrupted."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from resnet_kmeans._files import HIDDEN_PREFIX
from resnet_kmeans._folder_names import JOURNAL, REPORT, TABLE, name_key
from resnet_kmeans.exceptions import OutputFolderError, printable
from resnet_kmeans.export.files import PART, place_file, remove_empty
from resnet_kmeans.export.journal import Journal, Record, write_journal
from resnet_kmeans.export.table import ExportedImage, write_table

STAGE = f"{HIDDEN_PREFIX}moving"  # staging folder for images that swap paths


@contextmanager
def explain_disk_errors(folder: Path) -> Iterator[None]:
    """Convert errors of the operating system into one that explains the state of the images.

    Raises
    ------
    OutputFolderError
        If the disk is full, for example.
    """
    try:
        yield
    except OSError as error:
        has_begun, finish = (folder / JOURNAL).exists(), f"resnet-kmeans finish {printable(folder)}"
        then = f"then finish with: {finish}" if has_begun else "then run the command again"
        raise OutputFolderError(
            f"The work in {printable(folder)} stopped: {printable(error)}. No image was lost; "
            "each is complete at its old or new path. Correct the cause, "
            f"{then}."
        ) from error


def record_and_carry_out(folder: Path, planned: Journal) -> Journal:
    """Write a plan to the journal, then carry it out."""
    # The whole plan is written to the disk before the first file is touched, so that an
    # interrupted command can be finished or undone.
    planned = planned._replace(finished=False, staged=False)
    names = {image.name for image in planned.images if image.name}
    if files := sorted(name for name in names if (folder / name).is_file()):
        raise OutputFolderError(
            f"Files in {printable(folder)} have the names of folders that are needed there: "
            f"{printable(', '.join(files))}. Nothing was done. Move these files away, or choose "
            "other names."
        )
    write_journal(folder, planned)
    return carry_out(folder, planned)


def carry_out(folder: Path, journal: Journal) -> Journal:
    """Carry out the rest of a plan; return the journal of the finished export."""
    journal = _move_within(folder, journal)
    records = [_place(record, folder) for record in journal.records]
    done = journal._replace(finished=True, staged=False, other_files=[], records=records)
    write_table(folder, done.images)
    write_journal(folder, done)
    _remove_hidden_files(folder, JOURNAL, done.model)
    return done


def _place(record: Record, folder: Path) -> Record:
    """Place one image in its folder unless it is already there; return its record."""
    if record.present_path != "" or record.image.exported_path is None:
        return record._replace(present_path=None)
    source, target = record.image.source_path, folder / record.image.exported_path
    if os.path.lexists(target) and not (record.action == "move" and os.path.lexists(source)):
        return record._replace(present_path=None)  # done before the interruption
    # A missing image is recorded as deleted. If its whole folder is missing, a drive may be
    # unplugged: `place_file` then raises an error, and the export can be finished later.
    if not os.path.exists(source) and os.path.isdir(os.path.dirname(source)):
        image = ExportedImage(-1, "", None, source, None, "deleted before it could be exported")
        return Record(image, record.action, None)
    target.parent.mkdir(parents=True, exist_ok=True)
    place_file(record.action, source, target, folder / PART)
    return record._replace(present_path=None)


def planned_moves(journal: Journal) -> list[tuple[str, str]]:
    """Return the present and new path of each file that moves within the folder."""
    moves = [(r.present_path, r.image.exported_path) for r in journal.records if r.present_path]
    return [(before, after) for before, after in moves if after] + journal.other_files


def stage_path(before: str, number: int) -> str:
    """Return the path at which a file waits until its new path is free."""
    return f"{STAGE}/{number}{os.path.splitext(before)[1]}"


def _move_within(folder: Path, journal: Journal) -> Journal:
    """Move files within the folder, some of them through the staging folder."""
    # Two images may swap paths, so a file whose new path is still taken is staged first. In
    # the first round, no file arrives at a path that another file leaves; in the second, no
    # file leaves its new path. So the files themselves show how far an interrupted round got.
    moves = planned_moves(journal)
    left = {name_key(before) for before, _ in moves}
    waiting = {n: move for n, move in enumerate(moves) if name_key(move[1]) in left}
    if not journal.staged:
        for number, (before, after) in enumerate(moves):
            _rename(folder, before, stage_path(before, number) if number in waiting else after)
        remove_emptied(folder, (before for before, _ in moves))
        if waiting:
            journal = journal._replace(staged=True)
            write_journal(folder, journal)
    for number, (before, after) in waiting.items():
        _rename(folder, stage_path(before, number), after)
    remove_emptied(folder, [*(before for before, _ in moves), f"{STAGE}/"])
    return journal


def _rename(folder: Path, before: str, after: str) -> None:
    source, target = folder / before, folder / after
    if not os.path.lexists(source):
        return  # moved before the interruption, or removed by hand, which `undo` reports
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "another file has its path", str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(source, target)


def remove_emptied(root: Path, left: Iterable[str]) -> None:
    """Remove folders that files were moved from, and their parents, if they are empty now."""
    for parent in {Path(os.path.dirname(path)) for path in left}:
        for folder in [parent, *parent.parents][:-1]:  # all but the root itself
            remove_empty(root / folder)


def remove_own_files(folder: Path, journal: Journal) -> None:
    """Remove the files and empty folders of this package from an export."""
    # The journal comes last: if the process is killed, the next `undo` still finds the export.
    paths = [path for r in journal.records for path in (r.image.exported_path, r.first_path)]
    remove_emptied(folder, [*(path for path in paths if path), f"{STAGE}/"])
    _remove_hidden_files(folder, JOURNAL)
    for name in (TABLE, REPORT, JOURNAL):
        (folder / name).unlink(missing_ok=True)
    remove_empty(folder)


def _remove_hidden_files(folder: Path, *kept: str | None) -> None:
    """Remove the hidden files of this package: earlier models, unfinished files of killed runs."""
    for file in folder.glob(f"{HIDDEN_PREFIX}*"):
        if file.name not in kept and not file.is_dir():
            file.unlink()

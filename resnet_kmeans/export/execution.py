"""Carries out what a journal plans, from wherever it was interrupted."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resnet_kmeans.cluster_names import compared
from resnet_kmeans.exceptions import OutputFolderError, printable
from resnet_kmeans.export.actions import PART, put, remove_empty, write_whole
from resnet_kmeans.export.journal import Journal, Record, write_journal
from resnet_kmeans.export.names import REPORT, TABLE
from resnet_kmeans.export.plan import JOURNAL, OURS, ExportedImage

STAGE = f"{OURS}moving"  # folder of the images that take each other's places


@contextmanager
def explain_disk_errors(folder: Path) -> Iterator[None]:
    """Turn an error of the system into one that says what is true of the images.

    Raises
    ------
    OutputFolderError
        If the disk is full, say.
    """
    try:
        yield
    except OSError as error:
        raise OutputFolderError(
            f"The export to {printable(folder)} stopped: {printable(error)}. Every image is "
            "whole, where it was or where it went. Mend the cause, then run it again to finish."
        ) from error


def record_and_carry_out(folder: Path, planned: Journal) -> Journal:
    """Write what is planned to the journal, then carry it out."""
    planned = planned._replace(finished=False, staged=False)
    names = {image.name for image in planned.images if image.name}
    if files := sorted(name for name in names if (folder / name).is_file()):
        raise OutputFolderError(
            f"Expected folders in {printable(folder)}, got files called "
            f"{printable(', '.join(files))}. Nothing was done. Move them away, or choose others."
        )
    write_journal(folder, planned)
    return carry_out(folder, planned)


def carry_out(folder: Path, journal: Journal) -> Journal:
    """Do what is left of what a journal plans; return the journal of what is there then."""
    journal = _move_within(folder, journal)
    records = [_put(record, folder) for record in journal.records]
    done = journal._replace(finished=True, staged=False, strays=[], records=records)
    write_whole(folder / TABLE, _table(done.images))
    write_journal(folder, done)
    for file in folder.glob(f"{OURS}*.safetensors"):
        if file.name != journal.model:  # that before a split
            file.unlink()
    return done


def _put(record: Record, folder: Path) -> Record:
    """Put one image in its place, unless it is there; return its record."""
    if record.before != "" or record.image.exported_path is None:
        return record._replace(before=None)
    source, target = record.image.source_path, folder / record.image.exported_path
    if os.path.lexists(target) and not (record.action == "move" and os.path.lexists(source)):
        return record._replace(before=None)  # done before the interruption
    # Where its whole folder is gone, a drive may be unplugged: that stops the export.
    if not os.path.exists(source) and os.path.isdir(os.path.dirname(source)):
        image = ExportedImage(-1, "", None, source, None, "gone before it could be exported")
        return Record(image, record.action, None)
    target.parent.mkdir(parents=True, exist_ok=True)
    put(record.action, source, target, folder / PART)
    return record._replace(before=None)


def planned_moves(journal: Journal) -> list[tuple[str, str]]:
    """Return from where to where the files in the folder go, those of others too."""
    moves = [(r.before, r.image.exported_path) for r in journal.records if r.before]
    return [(before, after) for before, after in moves if after] + journal.strays


def stage_path(before: str, number: int) -> str:
    """Return where a file waits until the one in its new place has gone."""
    return f"{STAGE}/{number}{os.path.splitext(before)[1]}"


def _move_within(folder: Path, journal: Journal) -> Journal:
    """Move files in two rounds: those whose new place is still taken wait in between.

    In the first round nothing comes to a path that is left, in the second nothing leaves,
    so that it shows from the disk alone how far an interrupted round came.
    """
    moves = planned_moves(journal)
    left = {compared(before) for before, _ in moves}
    waiting = {n: move for n, move in enumerate(moves) if compared(move[1]) in left}
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
        return  # done before the interruption, or taken away by hand: undo names it then
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "another file is in its place", str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(source, target)


def remove_emptied(root: Path, left: Iterable[str]) -> None:
    """Remove the folders of paths that were left, and those above them, where they are empty."""
    for parent in {Path(os.path.dirname(path)) for path in left}:
        for folder in [parent, *parent.parents][:-1]:  # not the root itself
            remove_empty(root / folder)


def remove_own_files(folder: Path, journal: Journal) -> None:
    """Remove the files of an export beside its images; the journal last, so that a kill leaves it.

    Folders of clusters go where nothing is left in them.
    """
    paths = [path for r in journal.records for path in (r.image.exported_path, r.first_path)]
    remove_emptied(folder, [*(path for path in paths if path), f"{STAGE}/"])
    models = [file.name for file in folder.glob(f"{OURS}*.safetensors")]
    for name in (TABLE, REPORT, PART, *models, JOURNAL):
        (folder / name).unlink(missing_ok=True)
    remove_empty(folder)


def _table(images: list[ExportedImage]) -> Iterator[str]:
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    for row in [ExportedImage._fields, *images]:
        writer.writerow([_without_formula(cell) for cell in row])
        yield lines.getvalue()
        lines.seek(0)
        lines.truncate()


def _without_formula(cell: Any) -> Any:
    """Keep a spreadsheet from taking a text for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(tuple("=+-@\t\r\n")) else cell

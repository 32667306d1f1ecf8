"""Writes one folder a cluster, losing nothing."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resnet_kmeans.exceptions import OutputFolderError, list_reasons, printable
from resnet_kmeans.export.actions import ACTIONS, is_same, move, put
from resnet_kmeans.export.journal import (
    JOURNAL,
    Journal,
    alone,
    read_journal,
    write_journal,
    write_whole,
)
from resnet_kmeans.export.plan import (
    PART,
    ExportedImage,
    check_images,
    check_output_folder,
    plan_export,
)

__all__ = [
    "ACTIONS",
    "ExportedImage",
    "check_output_folder",
    "export_clusters",
    "finish_export",
    "is_unfinished",
    "undo_export",
]
# The journal holds the whole plan before the first file is touched, so that whatever stops
# an export, a second run finishes it and `undo_export` takes it back.
TABLE = "clusters.csv"
REPORT = "report.html"  # written into the folder by `write_report`


def export_clusters(
    image_paths: Sequence[str | os.PathLike[str]],
    labels: Sequence[int],
    output_folder: str | os.PathLike[str],
    *,
    action: str = "copy",
    distances: Sequence[float] | None = None,
    reasons: Mapping[str, str] | None = None,
    n_clusters: int | None = None,
    dry_run: bool = False,
) -> list[ExportedImage]:
    """Write images to one folder a cluster, losing nothing.

    Folders are ``cluster_0``, ``cluster_1``, …, padded to equal width. Of equal names in a
    cluster the first keeps its own, the next become ``name_2.jpg``, ``name_3.jpg``. Times of
    files are kept. All is checked before anything is written; then ``clusters.csv`` lists
    every image. Where an earlier export to this folder was interrupted, that one is finished,
    as it was planned.

    Parameters
    ----------
    image_paths : sequence of path-like, of length n
        The images.
    labels : sequence of int, of length n
        -1 is an unreadable image: listed, not exported. -2 is noise: in a folder ``noise``.
    output_folder : str or path-like
        Not there yet, or empty.
    action : {"copy", "hardlink", "symlink", "move"}, default="copy"
    distances : sequence of float, of length n, default=None
        Distance of each image to its centre, for the table.
    reasons : mapping of str to str, default=None
        Why images are unreadable, for the table.
    n_clusters : int, default=None
        Number of clusters that the width of folder names is for; None takes the highest
        label.
    dry_run : bool, default=False
        Whether only to check and to return what would be done.

    Returns
    -------
    list of ExportedImage, of length n
        What was, or would be, done. An image that vanishes meanwhile becomes cluster -1.

    Raises
    ------
    OutputFolderError
        If the folder is not empty, or an image or the space for it is not there; nothing
        is written then. Or if the export is stopped midway, by a full disk for example:
        every image is then whole where it was or where it went.
    """
    folder = Path(output_folder)
    if not dry_run and is_unfinished(folder):
        return finish_export(folder)
    if action not in ACTIONS or len(image_paths) != len(labels):
        raise ValueError(
            f"Expected an action of {ACTIONS} and as many labels as paths, got {action!r} with "
            f"{len(labels)} labels for {len(image_paths)} paths. Nothing was written."
        )
    plan = plan_export(image_paths, labels, distances, reasons, n_clusters)
    check_output_folder(folder)
    check_images(plan, folder, action)
    if dry_run:
        return plan
    journal = Journal(action, plan, finished=False)
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        check_output_folder(folder)  # another process may have begun meanwhile
        with _told(folder):
            write_journal(folder, journal)
            return _carry_out(journal, folder)


def is_unfinished(folder: str | os.PathLike[str]) -> bool:
    """Return whether an export to this folder was interrupted."""
    return os.path.exists(Path(folder, JOURNAL)) and not read_journal(Path(folder)).finished


def finish_export(output_folder: str | os.PathLike[str]) -> list[ExportedImage]:
    """Do what is left of a planned export; wherever that stops, it can be called again.

    Parameters
    ----------
    output_folder : str or path-like
        Where the export was interrupted.

    Returns
    -------
    list of ExportedImage
        As `export_clusters` would have returned them.

    Raises
    ------
    OutputFolderError
        If the disk is full, say; every image is then whole where it was or where it went.
    """
    folder = Path(output_folder)
    with alone(folder):
        journal = read_journal(folder)
        with _told(folder):
            return journal.plan if journal.finished else _carry_out(journal, folder)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFolderError(
            f"The export to {printable(folder)} stopped: {printable(error)}. Every image is "
            "whole, where it was or where it went. Mend the cause, then run it again to finish."
        ) from error


def _carry_out(journal: Journal, folder: Path) -> list[ExportedImage]:
    rows = [_export(journal.action, image, folder) for image in journal.plan]
    write_whole(folder / TABLE, _table(rows))
    write_journal(folder, Journal(journal.action, rows, finished=True))
    return rows


def _export(action: str, image: ExportedImage, folder: Path) -> ExportedImage:
    """Put one image in its place, unless it is there; return its row of the table."""
    if image.exported_path is None:
        return image
    source, target = image.source_path, folder / image.exported_path
    if os.path.lexists(target) and not (action == "move" and os.path.lexists(source)):
        return image  # done before the interruption
    # Where its whole folder is gone, a drive may be unplugged: that stops the export.
    if not os.path.exists(source) and os.path.isdir(os.path.dirname(source)):
        reason = "gone before it could be exported"
        return image._replace(cluster=-1, exported_path=None, distance=None, reason=reason)
    target.parent.mkdir(exist_ok=True)
    put(action, source, target, folder / PART)
    return image


def undo_export(output_folder: str | os.PathLike[str]) -> list[str]:
    """Bring the images of an export by ``action="move"`` back, finished or not.

    The folder is left without our table and report, and goes when nothing else is in it.

    Parameters
    ----------
    output_folder : str or path-like
        Where images were moved to.

    Returns
    -------
    list of str
        The paths that are back.

    Raises
    ------
    OutputFolderError
        If images were not moved, or another file is in the place of one by now; the others
        are brought back all the same.
    """
    folder = Path(output_folder)
    with alone(folder):
        journal = read_journal(folder)
        if journal.action != "move":
            raise OutputFolderError(
                f"Expected images that were moved, got action={journal.action!r} in "
                f"{printable(folder)}. The originals never left their place. Nothing was done; "
                "delete the folder if you do not want it."
            )
        with _told(folder):
            return _bring_back(journal.plan, folder)


def _bring_back(plan: list[ExportedImage], folder: Path) -> list[str]:
    moved = [(i.source_path, folder / i.exported_path) for i in plan if i.exported_path]
    moved = [(source, target) for source, target in moved if os.path.lexists(target)]
    taken = {
        source: "taken by another file"
        for source, target in moved
        if os.path.lexists(source) and not is_same(source, target)
    }
    back = [(source, target) for source, target in moved if source not in taken]
    for source, target in back:
        Path(source).parent.mkdir(parents=True, exist_ok=True)
        move(str(target), Path(source), Path(source).with_name(PART))
    if taken:
        raise OutputFolderError(
            f"{len(back)} images are back. These places are taken, so their images stay in "
            f"{printable(folder)}:\n{list_reasons(taken)}\nMove the other files away, then "
            "undo again."
        )
    _remove_ours(folder, plan)
    return [source for source, _ in back]


def _remove_ours(folder: Path, plan: list[ExportedImage]) -> None:
    for parent in {(folder / i.exported_path).parent for i in plan if i.exported_path}:
        _remove_empty(parent)
    for name in (TABLE, REPORT, PART, JOURNAL):  # the journal last, so that a kill leaves it
        (folder / name).unlink(missing_ok=True)
    _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not os.listdir(folder):
        folder.rmdir()


def _table(plan: list[ExportedImage]) -> Iterator[str]:
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    for row in [ExportedImage._fields, *plan]:
        writer.writerow([_harmless(cell) for cell in row])
        yield lines.getvalue()
        lines.seek(0)
        lines.truncate()


def _harmless(cell: Any) -> Any:
    """Keep a spreadsheet from taking a text for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(tuple("=+-@\t\r\n")) else cell

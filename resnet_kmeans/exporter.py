"""Writes one folder a cluster, losing nothing."""

from __future__ import annotations

import csv
import errno
import filecmp
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resnet_kmeans.exceptions import OutputFolderError, list_reasons, printable

# The journal holds the whole plan before the first file is touched, so that whatever stops
# an export, a second run finishes it and `undo_export` takes it back.
JOURNAL = ".resnet-kmeans.jsonl"
TABLE = "clusters.csv"
PART = ".resnet-kmeans.part"  # the one file being written, renamed when it is whole
FORMAT = 1
ACTIONS = ("copy", "hardlink", "symlink", "move")
MAX_NAME_BYTES = 255  # of ext4, APFS, NTFS and others


class ExportedImage(NamedTuple):
    """One row of ``clusters.csv``.

    Attributes
    ----------
    cluster : int
        -1 for an image that could not be read.
    exported_path : str or None
        Relative to the output folder, with ``/``; None for cluster -1.
    source_path : str
        Absolute.
    distance : float or None
        To the cluster's centre, where known.
    reason : str
        Why the image could not be read; else empty.
    """

    cluster: int
    exported_path: str | None
    source_path: str
    distance: float | None = None
    reason: str = ""


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
    """Write images to one folder a cluster, ``cluster_0``, ``cluster_1``, …

    Folder names are padded to equal width. Of equal names in a cluster the first keeps its
    own, the next become ``name_2.jpg``, ``name_3.jpg``. Times of files are kept. All is
    checked before anything is written; then ``clusters.csv`` lists every image. Where an
    earlier export to this folder was interrupted, that one is finished, as it was planned.

    Parameters
    ----------
    image_paths : sequence of path-like, of length n
    labels : sequence of int, of length n
        -1 is an unreadable image: listed, not exported.
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
        What was, or would be, done.

    Raises
    ------
    OutputFolderError
        If the folder is not empty, or an image or the space for it is not there; nothing
        is written then.
    """
    folder = Path(output_folder)
    if (folder / JOURNAL).exists() and not dry_run and is_unfinished(folder):
        return finish_export(folder)
    if action not in ACTIONS or len(image_paths) != len(labels):
        raise ValueError(
            f"Expected an action of {ACTIONS} and as many labels as paths, got {action!r} with "
            f"{len(labels)} labels for {len(image_paths)} paths. Nothing was written."
        )
    plan = plan_export(image_paths, labels, distances, reasons, n_clusters)
    check_output_folder(folder)
    _check_images(plan, folder, action)
    if not dry_run:
        folder.mkdir(parents=True, exist_ok=True)
        header = {"format": FORMAT, "action": action}
        lines = (json.dumps(line) + "\n" for line in [header, *plan])
        _write_whole(folder / JOURNAL, lines)
        finish_export(folder)
    return plan


def plan_export(
    image_paths: Sequence[str | os.PathLike[str]],
    labels: Sequence[int],
    distances: Sequence[float] | None = None,
    reasons: Mapping[str, str] | None = None,
    n_clusters: int | None = None,
) -> list[ExportedImage]:
    """Decide where each image goes; touches no disk."""
    width = len(str(max([*(int(label) for label in labels), (n_clusters or 1) - 1])))
    taken: set[str] = set()
    plan = []
    for i, (path, label) in enumerate(zip(image_paths, labels)):
        source = os.path.abspath(path)
        if label < 0:
            reason = (reasons or {}).get(os.fspath(path), "")
            plan.append(ExportedImage(-1, None, source, None, reason))
            continue
        target = _free_name(f"cluster_{int(label):0{width}d}/", os.path.basename(source), taken)
        distance = None if distances is None else float(distances[i])
        plan.append(ExportedImage(int(label), target, source, distance))
    return plan


def _free_name(folder: str, name: str, taken: set[str]) -> str:
    stem, suffix = os.path.splitext(name)
    number = 1
    # Compared without case: Windows and macOS would take a.JPG and a.jpg for one file.
    while (folder + name).casefold() in taken:
        number += 1
        ending = f"_{number}{suffix}"
        room = MAX_NAME_BYTES - len(os.fsencode(ending))
        name = os.fsdecode(os.fsencode(stem)[:room]) + ending
    taken.add((folder + name).casefold())
    return folder + name


def check_output_folder(folder: Path, inside: Path | None = None) -> None:
    """Refuse a folder that is not empty, or that lies in the folder of the images.

    Raises
    ------
    OutputFolderError
        Nothing has been written then.
    """
    if inside is not None and folder.resolve().is_relative_to(inside.resolve()):
        raise OutputFolderError(
            f"Expected an output folder outside the input folder, got {printable(folder)} in "
            f"{printable(inside)}, where the copies would be taken for new images. Nothing was "
            "written. Choose another output folder."
        )
    try:
        found = [name for name in os.listdir(folder) if name != PART]
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputFolderError(
            f"{printable(folder)} is no folder to write to: {error}."
        ) from error
    if found:
        raise OutputFolderError(
            f"Expected a new or empty output folder, got {printable(folder)} with "
            f"{len(found)} entries. Nothing was written or overwritten. Choose another folder."
        )


def _check_images(plan: list[ExportedImage], folder: Path, action: str) -> None:
    there = next(p for p in [folder, *folder.absolute().parents] if p.exists())
    bad: dict[str, str] = {} if os.access(there, os.W_OK) else {str(there): "not writable"}
    needed = 0
    seen: set[str] = set()
    for image in plan:
        source = image.source_path
        if image.exported_path is None:
            continue
        if not os.access(source, os.R_OK):
            bad[source] = "gone, or not readable"
        elif action == "move" and (why := _why_unmovable(source, seen)):
            bad[source] = why
        elif action == "hardlink" and os.stat(source).st_dev != os.stat(there).st_dev:
            bad[source] = "on another file system, where no hard link reaches"
        elif action == "copy" or os.stat(source).st_dev != os.stat(there).st_dev:
            needed += os.stat(source).st_size
        seen.add(source)
    if action != "symlink" and needed > (free := shutil.disk_usage(there).free):
        bad[str(there)] = f"{needed} bytes are needed, {free} are free"
    if bad:
        raise OutputFolderError(
            f"Expected images that can be exported with action={action!r}, got:\n"
            f"{list_reasons(bad)}\nNothing was written."
        )


def _why_unmovable(source: str, seen: set[str]) -> str:
    if os.path.islink(source):
        return "a link, which may break where it is moved to"
    if not os.access(os.path.dirname(source), os.W_OK):
        return "its folder is not writable"
    return "listed twice" if source in seen else ""


def is_unfinished(folder: str | os.PathLike[str]) -> bool:
    """Return whether an export to this folder was interrupted."""
    return (Path(folder) / JOURNAL).exists() and not _read_journal(Path(folder))[2]


def finish_export(output_folder: str | os.PathLike[str]) -> list[ExportedImage]:
    """Do what is left of a planned export; wherever that stops, it can be called again.

    Raises
    ------
    OutputFolderError
        If the disk is full, say; every image is then whole where it was or where it went.
    """
    folder = Path(output_folder)
    action, plan, finished = _read_journal(folder)
    if finished:
        return plan
    try:
        for image in plan:
            if image.exported_path is not None:
                _put(action, image.source_path, folder / image.exported_path, folder / PART)
        _write_whole(folder / TABLE, _table(plan))
    except OSError as error:
        raise OutputFolderError(
            f"The export to {printable(folder)} stopped: {printable(error)}. Every image is "
            "whole, where it was or where it went. Mend the cause, then run it again to finish."
        ) from error
    with open(folder / JOURNAL, "a", encoding="ascii") as journal:
        journal.write('\n"finished"\n')
    return plan


def undo_export(output_folder: str | os.PathLike[str]) -> list[str]:
    """Bring the images of an export by ``action="move"`` back, finished or not.

    The folder is left without our table, and goes when nothing else is in it.

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
    action, plan, _ = _read_journal(folder)
    if action != "move":
        raise OutputFolderError(
            f"Expected images that were moved, got action={action!r} in {printable(folder)}. "
            "The originals never left their place. Nothing was done; delete the folder if "
            "you do not want it."
        )
    moved = [i for i in plan if i.exported_path and os.path.lexists(folder / i.exported_path)]
    taken = {
        i.source_path: "taken by another file" for i in moved if os.path.lexists(i.source_path)
    }
    back = [image for image in moved if image.source_path not in taken]
    for image in back:
        Path(image.source_path).parent.mkdir(parents=True, exist_ok=True)
        _move(str(folder / str(image.exported_path)), Path(image.source_path), folder / PART)
    if taken:
        raise OutputFolderError(
            f"{len(back)} images are back. These places are taken, so their images stay in "
            f"{printable(folder)}:\n{list_reasons(taken)}"
        )
    _remove_ours(folder, plan)
    return [image.source_path for image in back]


def _remove_ours(folder: Path, plan: list[ExportedImage]) -> None:
    for name in (TABLE, PART, JOURNAL):
        (folder / name).unlink(missing_ok=True)
    parents = {(folder / i.exported_path).parent for i in plan if i.exported_path}
    for empty in [*parents, folder]:
        if empty.is_dir() and not os.listdir(empty):
            empty.rmdir()


def _put(action: str, source: str, target: Path, part: Path) -> None:
    if os.path.lexists(target) and not (action == "move" and os.path.lexists(source)):
        return  # done before the interruption
    target.parent.mkdir(exist_ok=True)
    if action == "copy":
        shutil.copy2(source, part)
        os.rename(part, target)
    elif action == "hardlink":
        os.link(os.path.realpath(source), target)
    elif action == "symlink":
        os.symlink(source, target)
    else:
        _move(source, target, part)


def _move(source: str, target: Path, part: Path) -> None:
    """Rename, or copy to another file system before the source goes."""
    if os.path.lexists(target):  # killed between the copy and the removal of the source
        if not filecmp.cmp(source, target, shallow=False):
            raise FileExistsError(errno.EEXIST, "another file is in its place", str(target))
        os.unlink(source)
        return
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copy2(source, part)
        with open(part, "rb") as copy:
            os.fsync(copy.fileno())
        shutil.move(part, target)
        os.unlink(source)


def _read_journal(folder: Path) -> tuple[str, list[ExportedImage], bool]:
    try:
        with open(folder / JOURNAL, encoding="ascii") as journal:
            header, *rows = [json.loads(line) for line in journal if line.strip()]
        finished = bool(rows) and rows[-1] == "finished"
        plan = [ExportedImage(*row) for row in rows if row != "finished"]
        if header["format"] > FORMAT or not all(_is_inside(i.exported_path) for i in plan):
            raise ValueError("of a newer format, or with paths outside the folder")
        return header["action"], plan, finished
    except FileNotFoundError:
        got = "a folder without one"
    except (OSError, ValueError, TypeError, KeyError) as error:
        got = f"one that cannot be read ({printable(error)})"
    raise OutputFolderError(
        f"Expected the journal of an export in {printable(folder)}, got {got}. Nothing was done."
    )


def _is_inside(path: str | None) -> bool:
    return path is None or not (os.path.isabs(path) or ".." in Path(path).parts)


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
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(tuple("=+-@\t\r")) else cell


def _write_whole(path: Path, lines: Iterable[str]) -> None:
    part = path.with_name(PART)
    # Names that are no valid UTF-8 are kept whole in the journal, escaped in the table.
    with open(part, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)

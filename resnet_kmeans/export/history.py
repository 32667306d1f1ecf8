"""The history of an export: lists its steps, takes them back, repeats and finishes them."""

import logging
import os
from pathlib import Path
from typing import NamedTuple

from resnet_kmeans._folder_names import JOURNAL
from resnet_kmeans.exceptions import OutputFolderError, list_reasons, printable
from resnet_kmeans.export.editing import Export, aside, editing
from resnet_kmeans.export.execution import Work
from resnet_kmeans.export.journal import read_journal
from resnet_kmeans.export.table import ExportedImage

logger = logging.getLogger(__name__)


class LoggedStep(NamedTuple):
    """One step in the history of an export.

    Attributes
    ----------
    number : int
        From 1.
    time : str
        When it began, in ISO 8601 with the offset from UTC.
    command : str
        "export", "apply", "rename", "split", "confirm", "add", "undo" or "redo".
    n_images : int
        Number of images that it brought, moved, confirmed or took back.
    state : {"done", "undone", "interrupted"}
    of : list of int
        The steps that "undo" or "redo" concerns.
    """

    number: int
    time: str
    command: str
    n_images: int
    state: str
    of: list[int]


def export_log(folder: str | os.PathLike[str]) -> list[LoggedStep]:
    """List the steps of an export, the first one first.

    Parameters
    ----------
    folder : str or path-like
        The folder of an export, finished or interrupted. It is only read.

    Returns
    -------
    list of LoggedStep
        Named tuples of ``number``, ``time``, ``command``, ``n_images``, ``state`` and ``of``.

    Raises
    ------
    OutputFolderError
        If the folder is not an export.

    Examples
    --------
    >>> from resnet_kmeans import export_log
    >>> [(step.command, step.n_images) for step in export_log("clusters")]  # doctest: +SKIP
    [('export', 360), ('rename', 52)]
    """
    place = Path(folder)
    if not os.path.lexists(place / JOURNAL) and (aside(place) / JOURNAL).exists():
        place = aside(place)
    journal = read_journal(place)
    images = {i for i, file in enumerate(journal.files) if file.owner is None}
    logged = []
    for step in journal.steps:
        changed = {
            i
            for i, b, a in journal.changes_of(step)
            if b != a and any(row and row.path for row in (b, a))
        }
        is_under_way = step is journal.last and not journal.is_finished
        state = "done" if step.of or step.number in journal.applied else "undone"
        state = "interrupted" if is_under_way else state
        n_images = len(changed & images)
        entry = LoggedStep(step.number, step.time, step.command, n_images, state, [*step.of])
        logged.append(entry)
    return logged


def undo_export(
    folder: str | os.PathLike[str],
    *,
    all_steps: bool = False,
    dry_run: bool = False,
    trust: bool = False,
) -> list[str]:
    """Take back the last step of an export, or all of them.

    Of an export or an addition, copies and links are removed, and moved images return to where
    they came from, wherever they are in the folder now. Of a correction, images return to their
    folders of before, unless a person has moved them to another folder meanwhile. A file is
    removed only if its original was read and has the same content: copies that were edited
    stay. What one image prevents does not stop the others.

    Parameters
    ----------
    folder : str or path-like
        The folder of an export, finished or interrupted.
    all_steps : bool, default=False
        If True, everything is taken back. Once nothing is left of an export, ``clusters.csv``,
        the report and the records of this package are removed too, and so is the folder if that
        leaves it empty; `redo_export` brings it back.
    dry_run : bool, default=False
        If True, nothing is written: only check and return what would be done.
    trust : bool, default=False
        If True, files outside the folder are touched even if the export was written by another
        user or on another machine.

    Returns
    -------
    list of str
        The paths to which images returned: their sources if they were moved to the export, else
        their paths in it. Copies and links that were removed are not among them.

    Raises
    ------
    OutputFolderError
        If the folder is not an export, or nothing is left to undo. Also if moved images are
        missing, or another file is at the path where an image came from. The message lists
        these images; all others are taken back, and `undo_export` can be called again.

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
    with editing(folder, is_finishing=True, trust=trust) as export:
        if not export.journal.is_finished and export.journal.last.command == "undo":
            if dry_run:
                export.require_finished()
            work = export.resume()
            if not all_steps or not export.journal.applied:
                return _reported(export, work)
        elif export.journal.is_finished and not export.journal.applied:
            return []  # a kill came before the records were put aside
        return _reported(export, _take_back(export, all_steps, dry_run), dry_run)


def _reported(export: Export, work: Work, dry_run: bool = False) -> list[str]:
    """Return the paths to which images returned; raise an error if others could not."""
    files, rows = work.journal.files, work.rows
    moved = [i for i in work.moved if files[i].owner is None]
    inside = [str(row.path) for i in moved if (row := rows[i]) is not None]
    back = [files[i].source for i in moved if rows[i] is None and files[i].action == "move"]
    _log_counts(work, len(back + inside), dry_run)
    if stuck := work.stuck:
        raise OutputFolderError(
            f"Some images of {printable(export.folder)} could not be returned ({len(stuck)}):\n"
            f"{list_reasons(stuck)}\nThe other images that were moved are back "
            f"({len(back + inside)}). The journal and clusters.csv stay. Move the files in the "
            "way, or put missing images back into the folder, then undo again; or leave what is "
            "left."
        )
    return back + inside


def _log_counts(work: Work, n_back: int, is_dry_run: bool) -> None:
    """Log in one line what happens to the images, or would happen, and what is lost."""
    images = [i for i in work.rows if work.journal.files[i].owner is None]
    leaving = [i for i in images if work.rows[i] is None and work.journal.files[i].action != "move"]
    there = [place for i in leaving if (place := work.found.places[i])]
    edited = [i for i in leaving if i in work.found.edited] if is_dry_run else work.kept
    was_there = [(row := work.journal.earlier[i]) and row.path for i in leaving]
    counts = {
        "moved back": n_back,
        "not confirmed any more": len({*work.judged} - {*work.moved}),
        "copies or links removed": len(there) - len(edited),
        "edited copies kept": len(edited),
        "not in the folder any more": sum(map(bool, was_there)) - len(there),
    }
    said = ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "nothing to do"
    logger.info("%s%s", "would be: " if is_dry_run else "", said)


def _take_back(export: Export, all_steps: bool, dry_run: bool) -> Work:
    journal = export.journal
    interrupted = [] if journal.is_finished else journal.last.of or [journal.last.number]
    of = [*journal.applied, *interrupted][::-1]
    of = of if all_steps else of[:1]
    brought = {i for number in of for i in journal.steps[number - 1].brought}
    if not dry_run:
        export.sweep()  # half a copy may have filled the disk
    # What leaves the folder is read: size and time do not prove a content.
    leaves = any(journal.files[i].action == "move" for i in brought)
    export.survey(read=leaves and not dry_run)
    return export.do(export.new_step("undo", of=of), dry_run=dry_run)


def redo_export(
    folder: str | os.PathLike[str], *, dry_run: bool = False, trust: bool = False
) -> list[str]:
    """Repeat the step of an export that was taken back last.

    Parameters
    ----------
    folder : str or path-like
        The folder of an export.
    dry_run : bool, default=False
        If True, nothing is written: only check and return what would be done.
    trust : bool, default=False
        As in `undo_export`.

    Returns
    -------
    list of str
        The original paths of the images that the step concerns.

    Raises
    ------
    OutputFolderError
        If the folder is not an export, nothing was undone, a new step was made since, or
        another command was interrupted; in these cases, nothing is done. Also if originals
        have changed since: the message lists them; all others are exported.

    Examples
    --------
    >>> from resnet_kmeans import redo_export
    >>> redo_export("clusters")  # doctest: +SKIP
    ['/home/me/photos/a.jpg', '/home/me/photos/b.jpg']
    """
    with editing(folder, is_finishing=True, is_redo=True, trust=trust) as export:
        work = _repeat(export, dry_run)
    if work.stuck:
        raise OutputFolderError(
            f"Some images could not be exported again to {printable(folder)}:\n"
            f"{list_reasons(work.stuck)}\nAll others were. Add the new images to the export if "
            "you want them there."
        )
    again = sorted({*work.moved, *work.judged})
    return [work.journal.files[i].source for i in again if work.journal.files[i].owner is None]


def _repeat(export: Export, dry_run: bool) -> Work:
    journal = export.journal
    if not journal.is_finished and journal.last.command == "redo" and not dry_run:
        return export.resume()  # the same command, which was interrupted
    if not journal.is_finished:
        export.require_finished()  # raises an error that says what was interrupted
    if not journal.undone:
        raise OutputFolderError(
            f"There is nothing to redo in {printable(export.folder)}: no step was undone, or "
            "another one was made since. Nothing was done."
        )
    return export.do(export.new_step("redo", of=journal.undone[-1:]), dry_run=dry_run)


def finish_export(folder: str | os.PathLike[str], *, trust: bool = False) -> list[ExportedImage]:
    """Finish an interrupted command on an export.

    Parameters
    ----------
    folder : str or path-like
        The folder of the export. If nothing was interrupted, nothing is done.
    trust : bool, default=False
        As in `undo_export`.

    Returns
    -------
    list of ExportedImage
        All images of the export; empty if the interrupted command was `undo_export` of
        everything.

    Raises
    ------
    OutputFolderError
        If the folder is not an export, or if the command stops again, for example because the
        disk is full. Every image is then complete at its old or new path, and this function can
        be called again.

    Examples
    --------
    >>> from resnet_kmeans import finish_export
    >>> images = finish_export("clusters")  # doctest: +SKIP
    """
    with editing(folder, is_finishing=True, trust=trust) as export:
        if not export.journal.is_finished:
            work = export.resume()
            if work.stuck:
                raise OutputFolderError(
                    f"Some images of {printable(folder)} stay where they are:\n"
                    f"{list_reasons(work.stuck)}\nAll others are done."
                )
        return export.images(export.journal.rows)

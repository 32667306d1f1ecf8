"""One locked read-modify-write of an export: every command on it is one of these."""

import copy
import datetime
import functools
import gc
import hashlib
import logging
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from resnet_kmeans._files import HIDDEN_PREFIX, replacing
from resnet_kmeans._folder_names import GENERATOR, JOURNAL, REPORT, TABLE, folder_of, label_of
from resnet_kmeans._marks import state_folder
from resnet_kmeans.exceptions import (
    BusyFolderError,
    EditedCopiesWarning,
    OutputFolderError,
    list_reasons,
    printable,
    warn_caller,
)
from resnet_kmeans.export import kept
from resnet_kmeans.export.execution import Work, explain_disk_errors, missing_from, row_at
from resnet_kmeans.export.files import remove_empty
from resnet_kmeans.export.journal import (
    RESERVE,
    Change,
    ExportedFile,
    Journal,
    Row,
    Step,
    append_done,
    append_step,
    not_an_export,
    read_journal,
)
from resnet_kmeans.export.kept import FolderModel, KeptNetwork
from resnet_kmeans.export.survey import STAGE, Survey, survey
from resnet_kmeans.export.table import ExportedImage, write_table

logger = logging.getLogger(__name__)

LOCK = f"{HIDDEN_PREFIX}lock"
MAX_ASIDE = 20  # exports that were taken back, of which the records are kept


@contextmanager
def lock(folder: Path, is_reading: bool = False) -> Iterator[None]:
    """Lock an export; the lock is released even if the process is killed.

    If `is_reading` is true, an export on a read-only medium needs no lock.

    Raises
    ------
    OutputFolderError
        If another process holds the lock, or nothing can be locked there.
    """
    handle = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        handle.acquire()
    except filelock.Timeout:
        raise BusyFolderError(
            f"Another process is writing to {printable(folder)}. Nothing was done. Wait until it "
            "has finished, or choose another folder."
        ) from None
    except (OSError, NotImplementedError) as error:
        if is_reading and not os.access(folder, os.W_OK):
            yield
            return
        raise OutputFolderError(
            f"{printable(folder)} cannot be locked against other processes ({error}), and two at "
            "once could lose images. Nothing was done. Check that the folder is writable, or use "
            "one on another file system."
        ) from error
    try:
        yield
    finally:
        handle.release()
        with suppress(OSError):  # not before, as Windows keeps an open lock
            remove_empty(folder)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep Python's garbage collector away while rows are made by the hundred thousand."""
    # None of them is garbage, but it would look through all of them again and again, which takes
    # half of the time.
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()


@contextmanager
def editing(
    output_folder: str | os.PathLike[str],
    *,
    is_finishing: bool = False,
    is_reading: bool = False,
    is_redo: bool = False,
    trust: bool = False,
) -> Iterator["Export"]:
    """Lock an export and read it; nothing that was read before is used after.

    Parameters
    ----------
    output_folder : str or path-like
    is_finishing : bool, default=False
        Whether the command can work on an export in which another was interrupted.
    is_reading : bool, default=False
        Whether nothing will be written.
    is_redo : bool, default=False
        Whether an export that was taken back as a whole is brought back.
    trust : bool, default=False
        Whether paths outside the folder are touched even if a stranger wrote them.

    Raises
    ------
    OutputFolderError
        If the folder is not an export, another process works on it, or a command on it was
        interrupted.
    """
    folder = Path(output_folder)
    with explain_disk_errors(folder):
        if not os.path.lexists(folder / JOURNAL):
            if not (aside(folder) / JOURNAL).exists():
                read_journal(folder)  # raises an error that says why there is none
            if not is_redo:
                raise undone(folder)
            folder.mkdir(parents=True, exist_ok=True)
        with _uncollected(), lock(folder, is_reading):
            if is_redo:
                bring_back(folder)
            export = Export(folder, read_journal(folder), trust)
            if not is_finishing:
                export.require_finished()
            try:
                yield export
            finally:
                if export.journal.is_finished and not export.journal.applied:
                    put_aside(folder)


@dataclass(frozen=True)
class ExportState:
    """The present contents of an export, and how they differ from its journal.

    Attributes
    ----------
    id : str
        Identifies the export; never changes.
    revision : int
        Number of steps.
    folders : list of str
        The present folder of each label.
    images : list of ExportedImage
        The images with their present paths, including unreadable images but not missing ones.
    moved : dict of str to str
        Recorded and present path of each image that was moved or renamed by hand.
    missing : dict of str to str
        Recorded path and source of each image that is not in the folder.
    added : list of str
        Files that were added by hand.
    model : FolderModel
        The folders as they are.
    positions : list of int
        Position of each of `images` in the model.
    network : callable
        Returns the `KeptNetwork`, or raises an OutputFolderError.
    """

    id: str
    revision: int
    folders: list[str]
    images: list[ExportedImage]
    moved: dict[str, str]
    missing: dict[str, str]
    added: list[str]
    model: FolderModel
    positions: list[int]
    network: Callable[[], KeptNetwork]


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
        If the folder is not an export, another process works on it, or a command on it was
        interrupted.
    """
    with editing(output_folder, is_reading=True) as export:
        journal, places = export.journal, export.found.places
        shown = [i for i, file in enumerate(journal.files) if file.owner is None]
        recorded = {i: row.path for i in shown if (row := journal.rows[i]) and row.path}
        present = [
            row if row and (places[i] or not row.path) else None
            for i, row in enumerate(export.rows)
        ]
        model, images, positions = export.judge(present)
        return ExportState(
            id=journal.id,
            revision=len(journal.steps),
            folders=export.folders,
            images=images,
            moved={p: now for i, p in recorded.items() if (now := places[i]) and now != p},
            missing={p: journal.files[i].source for i, p in recorded.items() if not places[i]},
            added=export.found.added,
            model=model,
            positions=positions,
            network=functools.partial(kept.read_network, export.folder, journal),
        )


@contextmanager
def creating(folder: Path) -> Iterator["Export"]:
    """Lock a folder and begin an export in it; nothing of ours stays if no step was made."""
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _uncollected(), lock(folder):
            try:
                yield Export(folder, Journal(secrets.token_hex(8)), trust=False)
            finally:
                if not (folder / JOURNAL).exists():
                    _sweep(folder)


def _sweep(folder: Path, *but: str) -> None:
    """Remove hidden files of ours `but` some; `lock` removes the folder if it is empty then."""
    for stale in folder.glob(f"{HIDDEN_PREFIX}*"):
        if stale.name == STAGE:
            remove_empty(stale)
        elif stale.is_dir() and not stale.is_symlink():
            shutil.rmtree(stale, ignore_errors=True)
        elif stale.name not in but:
            with suppress(PermissionError):  # Windows keeps an open lock
                stale.unlink(missing_ok=True)


def _remove_table_and_report(folder: Path) -> None:
    """Remove the table and the report, unless a person has put a file of theirs in the place."""
    for name, mark in ((TABLE, ",".join(ExportedImage._fields)), (REPORT, GENERATOR)):
        file = folder / name
        if file.is_file() and not file.is_symlink():
            with open(file, "rb") as content:
                is_own = mark.encode() in content.read(1000)  # it is near the beginning of both
            if is_own:
                file.unlink()


def undone(folder: Path) -> OutputFolderError:
    """Return the error that an export was taken back."""
    back = f"resnet-kmeans redo {printable(folder)}"
    return not_an_export(folder, f"it was undone; to have it back, use: {back}")


def aside(folder: Path) -> Path:
    """Return where the records of an export are kept once nothing of it is left."""
    name = hashlib.blake2b(os.fsencode(os.path.realpath(folder)), digest_size=16).hexdigest()
    return state_folder() / "undone" / name


def put_aside(folder: Path) -> None:
    """Take the records out of the folder of an export that was taken back, and the folder too."""
    place = aside(folder)
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _copy_records(folder, place)  # after a kill, part of them is there alone
        oldest_first = sorted(place.parent.iterdir(), key=os.path.getmtime)
        for old in oldest_first[:-MAX_ASIDE]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        logger.warning("The history cannot be kept, so nothing can be redone: %s", error)
    _remove_table_and_report(folder)
    # The journal comes last: if the process is killed, the next command still finds it.
    _sweep(folder, JOURNAL, LOCK)
    _sweep(folder)


def forget(folder: Path) -> None:
    """Remove what was put aside of an earlier export in the same place."""
    shutil.rmtree(aside(folder), ignore_errors=True)


def bring_back(folder: Path) -> None:
    """Return the records of an export that was taken back to its folder."""
    place = aside(folder)
    if (place / JOURNAL).exists():
        _copy_records(place, folder, with_journal=not os.path.lexists(folder / JOURNAL))
        forget(folder)


def _copy_records(source: Path, target: Path, with_journal: bool = True) -> None:
    """Copy what the steps of an export keep, and then its journal."""
    target.mkdir(parents=True, exist_ok=True)
    features = source.glob(f"{HIDDEN_PREFIX}*.safetensors")
    for file in [*features, *([source / JOURNAL] if with_journal else [])]:
        if file.is_file() and not file.is_symlink():
            with replacing(target / file.name) as part:
                shutil.copyfile(file, part)


# What `Export.judge` returned last, and for what: the same is asked for again after each command.
_judged: tuple[Any, tuple[FolderModel, list[ExportedImage], list[int]]] | None = None


class Export:
    """An export while it is locked.

    Attributes
    ----------
    folder : Path
    journal : Journal
    found : Survey
        Where its files are now; looked for once.
    rows : list of (Row or None)
        The present row of each file of the journal; None if it is not in the export any more.
    folders : list of str
        The present folder of each label, even if it was renamed by hand.
    """

    def __init__(self, folder: Path, journal: Journal, trust: bool):
        self.folder, self.journal, self.trust = folder, journal, trust
        self._found: Survey | None = None
        self._places: list[str | None] | None = None  # after a step was carried out

    def survey(self, read: bool = False) -> Survey:
        """Look where the files are now, and read them if `read` is true."""
        self._found = survey(self.folder, self.journal, read=read, trust=self.trust)
        return self._found

    @property
    def found(self) -> Survey:
        return self._found or self.survey()

    @property
    def rows(self) -> list[Row | None]:
        return self._now[0]

    @property
    def folders(self) -> list[str]:
        return self._now[1]

    @functools.cached_property
    def _now(self) -> tuple[list[Row | None], list[str]]:
        return present_rows(self.folder, self.journal, self.found)

    def listed(self, rows: Sequence[Row | None]) -> tuple[list[ExportedImage], list[int]]:
        """Return the images with given rows, and their numbers."""
        pairs = zip(self.journal.files, enumerate(rows))
        shown = [(i, row) for file, (i, row) in pairs if row and file.owner is None]
        return [self.journal.image(i, row) for i, row in shown], [i for i, _ in shown]

    @property
    def folder_model(self) -> FolderModel:
        """The folders as they are, as a model."""
        return self._model_of(self.features, self.rows)

    def _model_of(self, features: np.ndarray, rows: Sequence[Row | None]) -> FolderModel:
        places = self._places or self.found.places
        present = [row if place else None for row, place in zip(rows, places)]
        return kept.model_folders(features, present)

    @property
    def features(self) -> np.ndarray:
        """The kept features of each file; NaN if unknown."""
        return kept.read_features(self.folder, self.journal, self.found.edited)

    def images(self, rows: Sequence[Row | None]) -> list[ExportedImage]:
        """Return the rows of ``clusters.csv``, judged by what the folders contain."""
        return self.judge(rows)[1]

    def judge(
        self, rows: Sequence[Row | None]
    ) -> tuple[FolderModel, list[ExportedImage], list[int]]:
        """Return the folders as a model, the images as judged by it, and their numbers."""
        global _judged
        features, places = self.features, self._places or self.found.places
        given = features.tobytes(), [*self.journal.files], [*map(bool, places)], [*rows]
        known = _judged
        if known is None or known[0] != given:
            model, (images, numbers) = self._model_of(features, rows), self.listed(rows)
            _judged = known = given, (model, kept.judged(model, images, numbers), numbers)
        model, images, numbers = known[1]
        return copy.deepcopy(model), [*images], [*numbers]

    def require_finished(self) -> None:
        """Check that no command was interrupted.

        Raises
        ------
        OutputFolderError
            The message says what was interrupted, and how to finish or undo it.
        """
        if self.journal.is_finished:
            if not self.journal.applied:  # killed before its records were put aside
                raise undone(self.folder)
            return
        command, place = self.journal.last.command, printable(self.folder)
        what = "export" if command == "export" else f"command {command!r}"
        back = f", or undo it with: resnet-kmeans undo {place}" if command != "undo" else ""
        raise OutputFolderError(
            f"In {place}, the {what} was interrupted. Nothing was done. Finish it with: "
            f"resnet-kmeans finish {place}{back}."
        )

    def new_step(
        self,
        command: str,
        *,
        of: Sequence[int] = (),
        files: Sequence[ExportedFile] = (),
        rows: Mapping[int, Row | None] | None = None,
        others: Sequence[tuple[str, str, int, int, int]] = (),
        folders: list[str] | None = None,
    ) -> Step:
        """Return a step that gives files other rows than they have; nothing is written yet.

        What a person moved by hand is part of the step as well, but on both of its sides, so
        that taking the step back does not take back what the person did.
        """
        rows, journal = rows or {}, self.journal
        changes = []
        if not of:
            present = [*(self.rows if journal.steps else []), *[None] * len(files)]
            recorded = [*journal.rows, *[None] * len(files)]
            for i, (now, before) in enumerate(zip(present, recorded)):
                after = rows.get(i, now)
                if not now == before == after:
                    changes.append(Change(i, now, after))
        given = folders or (self.folders if journal.steps and not of else journal.folders)
        return Step(
            number=len(journal.steps) + 1,
            command=command,
            time=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            of=[*of],
            files=[*files],
            changes=changes,
            others=[*others],
            folders=None if given == journal.folders else (journal.folders, given),
        )

    def do(
        self,
        step: Step,
        dry_run: bool = False,
        features: np.ndarray | None = None,
        network: KeptNetwork | None = None,
    ) -> Work:
        """Record a step and what it keeps, then carry it out; only check it for a dry run."""
        self._found = found = self.found if self.journal.steps else Survey([])
        found.places += [None] * len(step.files)
        planned = self.journal.copy()  # as it will be if the step is carried out as planned
        planned.add(step)
        work = Work(self.folder, planned, found, is_first=not step.of)
        self.check(work)
        if dry_run:
            work.stuck = work.reasons()
            return work
        kept.keep(self.folder, planned, features, network)
        append_step(self.folder, planned)
        self.journal = planned
        return self.carry_out(work)

    def sweep(self) -> None:
        """Remove what killed commands left: temporary files, and rows of no step."""
        features = [kept.name_of_kept(step.number) for step in self.journal.steps if step.files]
        _sweep(self.folder, JOURNAL, LOCK, RESERVE, *features)

    def resume(self) -> Work:
        """Carry out the last step, which was interrupted."""
        work = Work(self.folder, self.journal, self.survey(read=bool(self.journal.last.of)))
        self.check(work)
        return self.carry_out(work)

    def check(self, work: Work) -> None:
        """Check that nothing outside the folder is touched unasked, or through a link."""
        if not self.trust:
            work.require_trust()
        require_folders(self.folder, work.targets)

    def carry_out(self, work: Work) -> Work:
        """Carry out the last step of the journal, write the table, and record that it is done."""
        journal, found = self.journal, work.found
        known = {i: k for i, k in found.known.items() if journal.known.get(i) != k}
        known |= work.carry_out()
        if journal.last.command == "undo":
            missing = missing_from(journal, found, work.rows)
            work.stuck |= missing
            lost = {i: row for i, row in journal.earlier.items() if row and row.path in missing}
            work.rows |= lost
        after = {i: row for i, row in work.rows.items() if row != journal.rows[i]}
        if journal.last.of:  # what a person did by hand meanwhile
            now, _ = present_rows(self.folder, journal, found)
            hand = {i: row for i, row in enumerate(now) if i not in work.rows}
            after |= {i: row for i, row in hand.items() if row != journal.rows[i]}
        rows = [after.get(i, row) for i, row in enumerate(journal.rows)]
        self._places = [
            (row and row.path) if i in work.rows else place
            for i, (row, place) in enumerate(zip(rows, found.places))
        ]
        if any(rows):
            write_table(self.folder, self.images(rows))
        else:
            _remove_table_and_report(self.folder)
        append_done(self.folder, journal, after, known)
        self.sweep()
        if work.kept:
            warn_caller(EditedCopiesWarning(sorted(work.kept)))
        return work


def require_folders(folder: Path, paths: Iterable[str]) -> None:
    """Check that files can be put at paths without following a link out of the folder.

    Raises
    ------
    OutputFolderError
        If links or files have the names of folders that are needed. The message lists them.
    """
    folders = {os.path.dirname(path) for path in paths}
    needed = {parent for path in folders for parent in (Path(path), *Path(path).parents)}
    found = {str(path): _what_is_no_folder(folder / path) for path in sorted(needed - {Path()})}
    bad = {path: what for path, what in found.items() if what}
    if bad:
        raise OutputFolderError(
            f"Links or files in {printable(folder)} have the names of folders that are needed "
            f"there:\n{list_reasons(bad)}\nNothing was done. Move them away, or choose other names."
        )


def _what_is_no_folder(path: Path) -> str:
    """Return what is where a folder is needed, or '' for a folder or nothing."""
    if path.is_symlink() or getattr(path, "is_junction", bool)():  # a link of Windows
        return "a link"
    return "a file" if path.exists() and not path.is_dir() else ""


def present_rows(
    folder: Path, journal: Journal, found: Survey
) -> tuple[list[Row | None], list[str]]:
    """Return the row of each file with its present place, and the present folder of each label."""
    folders = _present_folders(folder, journal, found)
    rows = [
        # A new folder gets a new label.
        row
        if row is None or place is None
        else row_at(row, place, label_of(folder_of(place), folders, row.cluster))
        for row, place in zip(journal.rows, found.places)
    ]
    return rows, folders


def _present_folders(root: Path, journal: Journal, found: Survey) -> list[str]:
    """Return the present folder of each label, even if it was renamed by hand."""
    # A missing folder is taken to be renamed to the folder that has most of its images.
    folders = found.as_listed(journal.folders)
    for label, folder in enumerate(folders):
        if (root / folder).is_dir():
            continue
        pairs = zip(journal.rows, found.places)
        now = Counter(folder_of(p) for row, p in pairs if p and row and row.cluster == label)
        del now[""]  # images in the root are in no folder
        folders[label] = max(now, key=lambda name: now[name]) if now else folder
    return folders

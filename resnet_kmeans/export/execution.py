"""Carries out a step: brings each of its files from where it is to where it should be."""

import errno
import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from resnet_kmeans._files import HIDDEN_PREFIX
from resnet_kmeans._folder_names import JOURNAL, UNREADABLE, folder_of, label_of, name_key
from resnet_kmeans.exceptions import OutputFolderError, list_reasons, printable
from resnet_kmeans.export.files import (
    Identity,
    content_of,
    identity,
    is_other_copy,
    is_other_name,
    move_file,
    place_file,
    remove_emptied,
    remove_file,
    rename_file,
)
from resnet_kmeans.export.journal import ExportedFile, Journal, Row
from resnet_kmeans.export.plan import free_path
from resnet_kmeans.export.survey import STAGE, Survey

logger = logging.getLogger(__name__)

LOG_SECONDS = 30  # between two lines of the log
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
DELETED = "deleted before it could be exported"
EDITED, TAKEN = "differs from its source", "its source path is taken by another file: {}"

T = TypeVar("T")
Move = tuple[str, str, str]  # the path of a file in the staging folder, now, and then
_report: ContextVar[Callable[[int, int], None]] = ContextVar("what `watching` was given")


@contextmanager
def watching(report: Callable[[int, int], None]) -> Iterator[None]:
    """Let a function follow the steps that this thread carries out meanwhile, and stop them.

    Parameters
    ----------
    report : callable
        Called with the numbers of files that are done and to be done, after each file that is
        moved, placed or returned. If it raises an exception, the step is interrupted between two
        files, as by Ctrl-C: `finish_export` completes it, and `undo_export` takes it back.

    Examples
    --------
    >>> from resnet_kmeans.export import undo_export, watching
    >>> with watching(lambda n_done, n_files: print(n_done, "of", n_files)):  # doctest: +SKIP
    ...     paths = undo_export("clusters")
    """
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


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


def row_at(row: Row, place: str, label: int) -> Row:
    """Return the row of a file that a person moved to another place, which has this label."""
    if label == row.cluster:
        return row if place == row.path else row._replace(path=place)
    # The distance and reason of another cluster would be wrong here.
    return Row(place, label, is_confirmed=True)


class Work:
    """The last step of a journal, to be carried out from wherever its files are.

    A first attempt, the completion of an interrupted one, `undo` and `redo` are the same work:
    only the rows that the journal wants differ.

    Parameters
    ----------
    folder : Path
    journal : Journal
    found : Survey
    is_first : bool
        Whether the step was just planned, so that all sources are known to be what it names.

    Attributes
    ----------
    rows : dict of int to (Row or None)
        The rows of the files that the step concerns: as planned, or else as they will be.
    others : list of Move
        Files of other people that move along.
    stuck, kept : dict of str to str
        Why files stay where they are, by path; `kept` are copies that are not ours any more.
    """

    def __init__(self, folder: Path, journal: Journal, found: Survey, is_first: bool = False):
        self.folder, self.journal, self.found, self.is_first = folder, journal, found, is_first
        self.stuck: dict[str, str] = {}
        self.kept: dict[str, str] = {}
        self.made: set[str] = set()  # folders that are there for sure
        self.n_done = self.n_files = 0  # a file that waits in the staging folder counts twice
        self.rows = {i: self.wanted(i) for i in journal.earlier}
        self.others = self.find_others()
        self.find_free_paths()

    def wanted(self, i: int) -> Row | None:
        """Return the row that a file should get, if a person has not moved it meanwhile."""
        row, place = self.journal.rows[i], self.found.places[i]
        earlier = self.journal.earlier[i]
        if row is None or row.path is None or place is None or place.startswith(f"{STAGE}/"):
            return row
        before = earlier.path if earlier and earlier.path else row.path
        if place in (row.path, before):
            return row
        if folder_of(place) not in (folder_of(row.path), folder_of(before)):
            folders = self.journal.folders
            label = label_of(folder_of(place), [*folders], row.cluster)
            return row_at(row, place, label if label < len(folders) else row.cluster)
        return row._replace(path=f"{os.path.dirname(row.path)}/{os.path.basename(place)}")

    def find_others(self) -> list[Move]:
        """Return the files of other people that move along."""
        last, steps = self.journal.last, self.journal.steps
        targets: dict[Identity, str] = {}
        own: dict[Identity, set[str]] = defaultdict(set)
        for step in [steps[number - 1] for number in last.of] or [last]:
            for before, after, *status in step.others:
                key = (status[0], status[1], status[2])
                targets[key] = before if last.command == "undo" else after
                own[key] |= {before, after}
        return [
            (f"{STAGE}/{key[0]}_", path, targets[key])
            for path, key in self.found.others.items()
            if key in targets
            and path != targets[key]
            and (path in own[key] or path.startswith(f"{STAGE}/"))
        ]

    def find_free_paths(self) -> None:
        """Choose another name where a file that does not move has the path."""
        places = self.found.places
        moving = {i for i, row in self.rows.items() if row is None or row.path != places[i]}
        stay = [p for i, p in enumerate(places) if p is not None and i not in moving]
        leaving = {before for _, before, _ in self.others}
        taken = {name_key(p): 1 for p in [*stay, *self.found.occupied] if p not in leaving}
        for i in sorted(moving):
            if (row := self.rows[i]) and row.path:
                self.rows[i] = row._replace(path=free_path(row.path, taken))
        self.others = [(stage, p, free_path(after, taken)) for stage, p, after in self.others]

    @property
    def placed(self) -> dict[int, str]:
        """The files that come from their sources, with their paths."""
        return {
            i: row.path
            for i, row in self.rows.items()
            if row and row.path and self.journal.earlier[i] is None
        }

    @property
    def returned(self) -> dict[int, str]:
        """The files that leave the folder, with their present paths."""
        gone = [i for i, row in self.rows.items() if row is None]
        return {i: place for i in gone if (place := self.found.places[i]) is not None}

    @property
    def moved(self) -> list[int]:
        """The files whose place changes, or would change, without those that are stuck."""
        places, held = self.found.places, {*self.stuck, *self.kept}
        changed = [i for i, row in self.rows.items() if (row and row.path) != places[i]]
        there = [i for i in changed if places[i] or i in self.placed]
        return [i for i in there if not {places[i], self.journal.files[i].source} & held]

    @property
    def judged(self) -> list[int]:
        """The files of which a person's word for their folder is given, or taken back."""
        pairs = [(i, self.journal.earlier[i], row) for i, row in self.rows.items()]
        return [i for i, a, b in pairs if a and b and a.is_confirmed != b.is_confirmed]

    @property
    def targets(self) -> list[str]:
        """The paths in the folder at which files arrive."""
        rows = [row.path for row in self.rows.values() if row and row.path]
        return rows + [after for _, _, after in self.others]

    def reasons(self) -> dict[str, str]:
        """Return why files would be stuck, by path."""
        returned = [(i, place) for i, place in self.returned.items() if not self.is_edited_copy(i)]
        return {place: why for i, place in returned if (why := self.reason_stuck(i, place))}

    def require_trust(self) -> None:
        """Check that no file outside the folder is touched because a stranger wrote so.

        Raises
        ------
        OutputFolderError
            The message lists the paths.
        """
        earlier = self.journal.earlier
        leaving = {i for i, row in self.rows.items() if row is None and earlier[i] is not None}
        strange = self.journal.brought_by_strangers & (leaving | self.placed.keys())
        if strange:
            sources = {self.journal.files[i].source: "outside this folder" for i in sorted(strange)}
            raise OutputFolderError(
                f"The export in {printable(self.folder)} was written by somebody else, or on "
                f"another machine, and asks for work on {len(sources)} files of yours:\n"
                f"{list_reasons(sources)}\nNothing was done. If you know these paths and trust the "
                "export, add --trust, or pass trust=True."
            )

    def carry_out(self) -> dict[int, Identity]:
        """Move, place and return the files; return the `identity` of those that came.

        Files that cannot be returned are in `stuck` afterwards, and keep their rows.
        """
        # A command that was killed may have made folders to which nothing came.
        left = [row.path for row in self.journal.earlier.values() if row and row.path]
        left += [place for i in self.rows if (place := self.found.places[i])]
        left += [before for _, before, _ in self.others]
        moves, returned, placed = self.find_moves(), self.returned, self.placed
        waiting = _waiting(moves)
        self.n_files = len(returned) + len(moves) + len(waiting) + len(placed)
        for i, place in self._reporting(returned.items()):
            try:
                reason = self.reason_stuck(i, place) or self._return(i, place)
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise
                reason = f"it cannot be returned: {error}"
            if reason and self.is_edited_copy(i):
                self.kept[place] = reason
            elif reason:
                self.stuck[place] = reason
                earlier = self.journal.earlier[i] or Row(place, UNREADABLE)
                self.rows[i] = earlier._replace(path=place)
        self._move_within(moves, waiting)
        known: dict[int, Identity] = {}
        for i, path in self._reporting(placed.items()):
            if self._place(i, path):
                known[i] = identity(os.lstat(self.folder / path))
        remove_emptied(self.folder, [*left, f"{STAGE}/"])
        return known

    def _reporting(self, files: Iterable[T]) -> Iterator[T]:
        """Yield files, and say after each that it is done."""
        report, logged = _report.get(None), time.monotonic()
        for file in files:
            yield file
            self.n_done += 1
            if report:
                report(self.n_done, self.n_files)
            if time.monotonic() - logged > LOG_SECONDS:
                logger.info("%d of %d files are in place", self.n_done, self.n_files)
                logged = time.monotonic()

    def find_moves(self) -> list[Move]:
        """Return the files that move within the folder."""
        own = [
            (f"{STAGE}/{i}", place, row.path)
            for i, row in self.rows.items()
            if row and row.path and (place := self.found.places[i]) and place != row.path
        ]
        return own + self.others

    def _move_within(self, moves: list[Move], waiting: set[Move]) -> None:
        """Move files within the folder, some of them through the staging folder."""
        held = {*self.stuck, *self.kept}  # they have not left, as was planned
        blocked = {other for other in self.others if other[2] in held}
        for move in self._reporting(moves):
            stage, before, after = move
            target = stage if move in waiting else after
            if before != target and move not in blocked:
                self._rename(before, target)
        remove_emptied(self.folder, (before for _, before, _ in moves))
        self.made.clear()
        for move in self._reporting(waiting):
            if move not in blocked:
                self._rename(move[0], move[2])

    def _rename(self, before: str, after: str) -> None:
        self._make_folder(after)
        rename_file(os.path.join(self.folder, before), os.path.join(self.folder, after))

    def _make_folder(self, path: str) -> None:
        if (folder := os.path.dirname(path)) not in self.made:
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
            self.made.add(folder)

    def _place(self, i: int, path: str) -> bool:
        """Bring a file from its source, unless it came before an interruption."""
        file, target = self.journal.files[i], self.folder / path
        if self.found.places[i] is not None:
            if file.action == "move" and is_other_copy(target, file.source):
                remove_file(file.source)  # the kill came just before this
            return False
        # A missing image is recorded as deleted. If its whole folder is missing, a drive may be
        # unplugged: `place_file` then raises an error, and the export can be finished later.
        if not os.path.exists(file.source) and os.path.isdir(os.path.dirname(file.source)):
            self.rows[i] = Row(None, UNREADABLE, None, DELETED)
            return False
        if not self.is_first and file.action != "symlink":
            now = content_of(file.source)
            if now is not None and file.content is not None and now != file.content:
                self.stuck[file.source] = "it is another image now, which stays there"
                self.rows[i] = Row(None, UNREADABLE, None, "another image is at its source now")
                return False
        self._make_folder(path)
        part = self.folder / f"{HIDDEN_PREFIX}{self.journal.mark}.part"
        place_file(file.action, file.source, target, part)
        return True

    def reason_stuck(self, i: int, place: str) -> str:
        """Return why a file cannot leave the folder without a loss, or ''."""
        file, path = self.journal.files[i], self.folder / place
        source, real = file.source, file.real or file.source
        if file.action == "symlink":
            return EDITED if i in self.found.edited else ""
        if not os.path.isabs(source):
            return f"its source is on another system: {source}"
        if os.path.normcase(os.path.realpath(source)) != os.path.normcase(real):
            return f"its source path leads elsewhere now, through a link: {source}"
        if Path(real).is_relative_to(os.path.realpath(self.folder)):
            return f"its source path is in this export itself: {source}"
        if file.action == "hardlink" and is_other_name(real, path):
            return ""
        if not os.path.lexists(real):
            is_moved = file.action == "move"
            return "" if is_moved else f"its source {source} is missing, so this copy stays"
        if is_other_copy(real, path):
            return ""
        return TAKEN.format(source) if file.action == "move" else EDITED

    def is_edited_copy(self, i: int) -> bool:
        """Return whether a file is a copy or link that a person changed, or its source."""
        file = self.journal.files[i]
        return file.action != "move" and os.path.lexists(file.source)

    def _return(self, i: int, place: str) -> str:
        """Take a file out of the folder that `reason_stuck` has nothing against."""
        file, path = self.journal.files[i], self.folder / place
        if file.action != "move":
            remove_file(path)
        else:
            source = Path(file.source)
            if content_of(path) is None:
                return "it cannot be read"
            source.parent.mkdir(parents=True, exist_ok=True)
            part = source.with_name(f"{HIDDEN_PREFIX}{self.journal.mark}.part")
            move_file(path, source, part)
        return ""


def _waiting(moves: list[Move]) -> set[Move]:
    """Return the files that wait in the staging folder until their new paths are free."""
    # Two files may swap paths. Until all that have to wait do so, no file arrives at a path that
    # another leaves.
    left = {name_key(before) for _, before, _ in moves}
    return {move for move in moves if name_key(move[2]) in left or move[0] == move[1]}


def missing_from(journal: Journal, found: Survey, rows: dict[int, Row | None]) -> dict[str, str]:
    """Return the moved files that an undo finds neither in the folder nor at their sources."""
    missing = {}
    for i, row in rows.items():
        file, earlier = journal.files[i], journal.earlier[i]
        is_gone = row is None and found.places[i] is None and earlier and earlier.path
        if is_gone and file.action == "move" and not _is_back(file):
            missing[str(earlier and earlier.path)] = f"not found; it came from {file.source}"
    return missing


def _is_back(file: ExportedFile) -> bool:
    content = content_of(file.source)
    return content is not None and (file.content is None or content == file.content)

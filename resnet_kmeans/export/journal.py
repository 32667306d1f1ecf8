"""Reads and writes the journal of an export: a list of steps that only grows.

The first line names the format and the export. Each step is one line of JSON, written and synced
before its first file is touched; a second, short line says that it is done. Each line ends with a
mark: the user's keyed hash of the line and of the mark before it.
"""

import errno
import json
import ntpath
import os
import posixpath
import re
import stat
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from resnet_kmeans._files import HIDDEN_PREFIX, replacing, sync
from resnet_kmeans._folder_names import JOURNAL, UNREADABLE, folder_of
from resnet_kmeans._marks import is_marked, mark_of
from resnet_kmeans.exceptions import OutputFolderError, printable
from resnet_kmeans.export.files import ACTIONS, Content, Identity
from resnet_kmeans.export.table import CONFIRMED, ExportedImage

FORMAT = 5
COMMANDS = ("export", "apply", "rename", "split", "confirm", "add", "undo", "redo")
# A full disk has no room to record that something is taken back, so a little is kept.
RESERVE, RESERVE_BYTES = f"{HIDDEN_PREFIX}reserve", 2**14
# Names joined by "/", none of them "." or "..". Without a colon or backslash, which are ordinary
# characters on POSIX, no path is a drive, a stream, a share or a folder on Windows either.
_NAME = r"(?!\.{1,2}(?:/|\Z))[^/\\:\0]+"
_RELATIVE = re.compile(f"{_NAME}(?:/{_NAME})*")


class ExportedFile(NamedTuple):
    """What never changes about a file that was put into an export."""

    source: str  # absolute path of the original
    action: str  # how it was put into the folder
    content: Content | None = None  # None if it could not be read
    owner: int | None = None  # the number of the image that this file accompanies, if any
    real: str | None = None  # the path of the original without links, if another than `source`


class Row(NamedTuple):
    """Where a file of the export is, and what ``clusters.csv`` says about it."""

    path: str | None  # relative to the export, with "/"; None if it is listed but not exported
    cluster: int
    distance: float | None = None
    reason: str = ""
    is_confirmed: bool = False  # a person said that it belongs there


class Change(NamedTuple):
    """A file of the export before and after a step; None where it is not part of the export."""

    number: int
    before: Row | None
    after: Row | None


class Step(NamedTuple):
    """One command on an export."""

    number: int  # from 1
    command: str
    time: str  # when it began, in ISO 8601 with the offset from UTC
    of: list[int]  # the steps that "undo" or "redo" concerns, in this order
    files: list[ExportedFile]  # new ones; their numbers follow those of the steps before
    changes: list[Change]  # empty for "undo" and "redo", which have those of `of`
    # Files of other people that move along: paths before and after, and `identity`.
    others: list[tuple[str, str, int, int, int]]
    # The folder of each label before and after, if they change; labels never do.
    folders: tuple[list[str], list[str]] | None

    @property
    def brought(self) -> list[int]:
        """The numbers of the files that came with this step."""
        return [i for i, before, _ in self.changes if before is None]


@dataclass
class Journal:
    """An export as its journal tells it."""

    id: str
    steps: list[Step] = field(default_factory=list)
    is_finished: bool = True  # whether the last step is done
    files: list[ExportedFile] = field(default_factory=list)  # all that ever were part of it
    rows: list[Row | None] = field(default_factory=list)  # of each file, after the last step
    # Where the files that the last step concerns were before it.
    earlier: dict[int, Row | None] = field(default_factory=dict)
    # The `identity` of files that were compared with their content.
    known: dict[int, Identity] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)  # of each label; never changed in place
    applied: list[int] = field(default_factory=list)  # the steps that the state consists of
    undone: list[int] = field(default_factory=list)  # the steps that `redo` would carry out
    strange: set[int] = field(default_factory=set)  # steps without this user's mark
    mark: str = ""  # of the last line
    size: int = 0  # bytes up to the end of the last whole line

    @property
    def last(self) -> Step:
        """The last step."""
        return self.steps[-1]

    @property
    def brought_by_strangers(self) -> set[int]:
        """The numbers of the files that came with steps without this user's mark."""
        return {i for number in self.strange for i in self.steps[number - 1].brought}

    def image(self, number: int, row: Row) -> ExportedImage:
        """Return the row of ``clusters.csv`` of a file."""
        name = folder_of(row.path) if row.path else ""
        source = self.files[number].source
        reason = CONFIRMED if row.is_confirmed else row.reason
        return ExportedImage(row.cluster, name, row.path, source, row.distance, reason)

    def changes_of(self, step: Step) -> list[Change]:
        """Return the changes of a step, also of one that takes others back or repeats them."""
        found = list(step.changes)
        for earlier in (self.steps[number - 1].changes for number in step.of):
            is_undo = step.command == "undo"
            found += [Change(i, a, b) for i, b, a in earlier] if is_undo else earlier
        return found

    def copy(self) -> "Journal":
        """Return a journal that can change without this one; their steps are the same."""
        return Journal(**{name: copy(value) for name, value in vars(self).items()})

    def add(self, step: Step) -> None:
        """Take a step into account, as if it had been carried out as planned."""
        if not self.is_finished:  # an interrupted step, which this one takes back
            self._apply_last()
        self.folders = step.folders[1] if step.folders else self.folders
        for pair in (self.steps[number - 1].folders for number in step.of):
            self.folders = pair[step.command != "undo"] if pair else self.folders
        self.files += step.files
        self.rows += [None] * len(step.files)
        self.earlier = {}
        for number, before, after in self.changes_of(step):
            self.earlier.setdefault(number, self.rows[number] if step.of else before)
            self.rows[number] = after
        self.steps.append(step)
        self.is_finished = False

    def finish(self, rows: dict[int, Row | None], known: dict[int, Identity]) -> None:
        """Take into account what became of the last step: rows other than planned."""
        for number, row in rows.items():
            self.rows[number] = row
        self.known |= known
        self.is_finished = True
        if self.last.command != "undo":
            self._apply_last()
            return
        for number in self.last.of:  # undone, unless it brought a file that is stuck here
            brought = [self.rows[i] for i in self.steps[number - 1].brought]
            if not any(row and row.path for row in brought):
                self.applied.remove(number)
                self.undone.append(number)

    def _apply_last(self) -> None:
        self.applied += self.last.of or [self.last.number]
        self.undone = self.undone[: -len(self.last.of)] if self.last.of else []


class _Known(NamedTuple):
    """A journal that was read before: what follows from these bytes for a user."""

    content: bytes
    user: str  # the mark of no text
    journal: Journal


_last = _Known(b"", "", Journal(""))  # of one export, as it may be large


def append_step(folder: Path, journal: Journal) -> None:
    """Record the last step of a journal before its first file is touched."""
    is_new, line = not journal.size, journal.last._asdict()
    header = _marked({"format": FORMAT, "export": journal.id}, journal) if is_new else ""
    text = header + _marked({"step": line.pop("number"), **line}, journal)
    if not is_new:
        _append(folder, journal, text)
        return
    with replacing(folder / JOURNAL) as part:
        part.write_text(text, encoding="ascii", newline="\n")
    for above in (folder, folder.absolute().parent):
        sync(above)
    journal.size = len(text)


def append_done(
    folder: Path, journal: Journal, rows: dict[int, Row | None], known: dict[int, Identity]
) -> None:
    """Record that the last step is done, and what came out other than planned."""
    found = [[number, *values] for number, values in known.items()]
    line = {"done": journal.last.number, "rows": [*rows.items()], "known": found}
    _append(folder, journal, _marked(line, journal))
    journal.finish(rows, known)
    if not (folder / RESERVE).exists():
        try:
            (folder / RESERVE).write_bytes(os.urandom(RESERVE_BYTES))
        except OSError:  # there is hardly any room already
            (folder / RESERVE).unlink(missing_ok=True)


def _marked(line: dict[str, Any], journal: Journal) -> str:
    text = json.dumps(line, separators=(",", ":"))
    journal.mark = mark_of(journal.mark, text[:-1])
    return f'{text[:-1]},"mark":"{journal.mark}"}}\n'


def _append(folder: Path, journal: Journal, text: str) -> None:
    try:
        _write(folder / JOURNAL, journal.size, text)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        (folder / RESERVE).unlink(missing_ok=True)
        _write(folder / JOURNAL, journal.size, text)
    journal.size += len(text)


def _write(path: Path, size: int, text: str) -> None:
    with open(path, "r+b") as file:
        file.truncate(size)  # a line that an interruption cut short
        file.seek(size)
        file.write(text.encode("ascii"))
        file.flush()
        os.fsync(file.fileno())


def read_journal(folder: Path) -> Journal:
    """Read the journal of an export.

    Raises
    ------
    OutputFolderError
        If there is no journal, or if it is damaged, has another format, or names paths outside
        the folder.
    """
    try:
        return _read(folder / JOURNAL)
    except FileNotFoundError:
        is_there = folder.exists()
        reason = "it has no journal" if is_there else os.strerror(errno.ENOENT)
    except NotADirectoryError:
        reason = "a file, not a folder"
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = f"its journal cannot be read ({printable(error)})"
    raise not_an_export(folder, reason)


def not_an_export(folder: Path, reason: str) -> OutputFolderError:
    """Return the error that there is no export in a folder."""
    return OutputFolderError(
        f"There is no export that can be read in {printable(folder)}: {reason}. Nothing was done. "
        "Check the path."
    )


def _read(path: Path) -> Journal:
    # A link could lead to the journal of another export, and a pipe would block.
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise ValueError("not a regular file")
    global _last
    with open(path, "rb") as file:
        # A journal grows at its end, so only what was added since is parsed.
        known = _last
        if file.read(len(known.content)) != known.content or known.user != mark_of():
            known = _Known(b"", mark_of(), Journal(""))
            file.seek(0)
        journal, lines = known.journal.copy(), [known.content]
        for raw in file:
            try:
                if not raw.endswith(b"\n"):  # the next line would be appended to this one
                    raise ValueError("cut short")
                line = json.loads(raw)
            except ValueError:
                # A kill cut the line short: only a whole object is valid JSON.
                if file.read(1) or not journal.size:
                    raise
                break
            if not journal.size:
                if line["format"] != FORMAT:
                    raise ValueError(
                        f"of format {line['format']}; this version reads {FORMAT}. The images are "
                        "complete where they are, so cluster them into a new folder"
                    )
                journal.id = str(line["export"])
            _take(journal, line, raw.rstrip(b"\n"))
            journal.size += len(raw)
            lines.append(raw)
    if not journal.steps:
        raise ValueError("without a step")
    _last = known._replace(content=b"".join(lines), journal=journal.copy())
    return journal


def _take(journal: Journal, line: dict[str, Any], raw: bytes) -> None:
    """Take one line of a journal into account."""
    mark = line.pop("mark")
    if not re.fullmatch("[0-9a-f]{32}", mark):  # it is part of the names of temporary files
        raise ValueError("without a mark")
    ending = f',"mark":"{mark}"}}'.encode()
    is_own = raw.endswith(ending)
    is_own = is_own and is_marked(mark, journal.mark, memoryview(raw)[: -len(ending)])
    journal.mark, n_files = mark, len(journal.files)
    if "step" in line:
        step = _step_from(line)
        takes_back = journal.is_finished or step.command == "undo"
        if step.number != len(journal.steps) + 1 or not takes_back:
            raise ValueError(f"with step {step.number} out of order")
        if not is_own:  # what we marked is as we wrote it
            _check(step, n_files, len(journal.folders))
        journal.add(step)
    elif "done" in line:
        if journal.is_finished or line["done"] != journal.last.number:
            raise ValueError(f"with the end of step {line['done']} out of order")
        rows = {i: row and Row(*row) for i, row in line["rows"]}
        if not is_own:
            _check_rows([Change(i, None, row) for i, row in rows.items()], n_files)
        journal.finish(rows, {i: (int(a), int(b), int(c)) for i, a, b, c in line["known"]})
    if journal.steps and not is_own:
        journal.strange.add(journal.last.number)


def _step_from(line: dict[str, Any]) -> Step:
    # In place, since there may be lists by the hundred thousand.
    files, changes = line["files"], line["changes"]
    for k, (source, action, content, *more) in enumerate(files):
        files[k] = ExportedFile(source, action, content and Content(*content), *more)
    for k, (i, before, after) in enumerate(changes):
        changes[k] = Change(i, before and Row(*before), after and Row(*after))
    line["others"] = [(b, a, ino, size, time) for b, a, ino, size, time in line["others"]]
    return Step(line.pop("step"), **line)


def _check(step: Step, n_files: int, n_labels: int) -> None:
    """Check a step that a stranger wrote: exports are shared, and it must do no harm."""
    if step.command not in COMMANDS or any(not 0 < n < step.number for n in step.of):
        raise ValueError(f"of a newer format, with the command {step.command}")
    for file in step.files:
        paths = [file.source, *([file.real] if file.real is not None else [])]
        is_absolute = all(posixpath.isabs(p) or ntpath.isabs(p) for p in paths)
        if file.action not in ACTIONS or not is_absolute or any("\0" in p for p in paths):
            raise ValueError(f"with the source {file.source!r}")
        if type(file.owner) not in (int, type(None)):
            raise ValueError(f"with the owner {file.owner!r}")
    for before, after, *_ in step.others:
        _check_paths([before, after])
    for folders in step.folders or ():
        if not isinstance(folders, list):
            raise ValueError("with clusters that have no folder")
        _check_paths(folders)
        n_labels = len(folders)
    _check_rows(step.changes, n_files + len(step.files), n_labels)


def _check_rows(changes: list[Change], n_files: int, n_labels: int = 10**6) -> None:
    rows = [row for _, *pair in changes for row in pair if row]
    _check_paths([row.path for row in rows if row.path is not None])
    for row in rows:
        is_valid = type(row.cluster) is int and UNREADABLE <= row.cluster < n_labels
        is_valid &= type(row.distance) in (int, float, type(None)) and isinstance(row.reason, str)
        is_valid &= isinstance(row.is_confirmed, bool)
        if not is_valid:
            raise ValueError(f"with the row {row!r}")
    if any(type(i) is not int or not 0 <= i < n_files for i, *_ in changes):
        raise ValueError("with a file that it does not have")


def _check_paths(paths: Any) -> None:
    """Check that paths stay in the folder, on every system, and are none of the hidden files."""
    for path in paths:
        if not (isinstance(path, str) and _RELATIVE.fullmatch(path)):
            raise ValueError(f"with a path outside the folder: {path!r}")
        if path[: len(HIDDEN_PREFIX)].casefold() == HIDDEN_PREFIX:
            raise ValueError(f"with a path among the hidden files: {path!r}")

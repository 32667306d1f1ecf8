"""Reads and writes the journal of an export: a list of steps that only grows.

The first line names the format and the export. Each step is one line of JSON, written and synced
before its first file is touched; a second, short line says that it is done. Each line ends with a
mark: the user's keyed hash of the line and of the mark before it.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from resnet_kmeans._files import HIDDEN_PREFIX, replacing, sync
from resnet_kmeans._folder_names import JOURNAL, SET_ASIDE, folder_of
from resnet_kmeans._marks import is_marked, mark_of
from resnet_kmeans.exceptions import OutputFolderError, printable
from resnet_kmeans.export.files import ACTIONS, Content, Identity
from resnet_kmeans.export.table import ExportedImage

FORMAT = 4
COMMANDS = ("export", "apply", "rename", "split", "add", "undo", "redo")
# A full disk has no room to record that something is taken back, so a little is kept.
RESERVE, RESERVE_BYTES = f"{HIDDEN_PREFIX}reserve", 2**14
MODEL_NAME = re.escape(HIDDEN_PREFIX) + r"\d{1,9}\.safetensors"
# Names joined by "/", none of them "." or "..". Without a colon or backslash, which are ordinary
# characters on POSIX, no path is a drive, a stream, a share or a folder on Windows either.
_NAME = r"(?!\.{1,2}(?:/|\Z))[^/\\:\0]+"
_RELATIVE = re.compile(f"{_NAME}(?:/{_NAME})*")
ABSENT = os.strerror(errno.ENOENT)


class ExportedFile(NamedTuple):
    """What never changes about a file that was put into an export.

    Attributes
    ----------
    source : str
        Absolute path of the original.
    action : {"copy", "hardlink", "symlink", "move"}
        How it was put into the folder.
    content : Content or None
        By which it is recognized; None if it could not be read.
    owner : int or None
        The number of the image that this file accompanies; None for an image.
    real : str or None
        The path of the original without links; None if that is `source` itself.
    """

    source: str
    action: str
    content: Content | None = None
    owner: int | None = None
    real: str | None = None


class Row(NamedTuple):
    """Where a file of the export is, and what ``clusters.csv`` says about it.

    Attributes
    ----------
    path : str or None
        Relative to the export, with ``/``; None for an image that is listed but not exported.
    cluster : int
    distance : float or None
    reason : str
    """

    path: str | None
    cluster: int
    distance: float | None = None
    reason: str = ""


class Clusters(NamedTuple):
    """What an export knows about its clusters.

    Attributes
    ----------
    folders : list of str
        The folder of each label. Labels never change, folders do.
    model : str or None
        File name of the kept model.
    centers : list of int
        The label of each center of that model.
    distance_limit : float or None
        The distance to the center that 99% of the images of the fit do not exceed. New images
        that are farther away fit badly.
    """

    folders: list[str]
    model: str | None = None
    centers: list[int] = []
    distance_limit: float | None = None


NO_CLUSTERS = Clusters([])


class Change(NamedTuple):
    """A file of the export before and after a step; None where it is not part of the export."""

    number: int
    before: Row | None
    after: Row | None


class Step(NamedTuple):
    """One command on an export.

    Attributes
    ----------
    number : int
        From 1.
    command : str
        One of `COMMANDS`.
    time : str
        When it began, in ISO 8601 with the offset from UTC.
    of : list of int
        The steps that "undo" or "redo" concerns, in the order in which they are carried out.
    files : list of ExportedFile
        New files; their numbers follow those of the steps before.
    changes : list of Change
        Empty for "undo" and "redo", which have those of the steps that they concern.
    others : list of (str, str)
        Files of other people that move along with a renamed folder: their paths before and after.
    clusters : (Clusters, Clusters) or None
        Before and after, if they change.
    token : str
        Part of the names of temporary files, which no other step uses.
    """

    number: int
    command: str
    time: str
    of: list[int]
    files: list[ExportedFile]
    changes: list[Change]
    others: list[tuple[str, str]]
    clusters: tuple[Clusters, Clusters] | None
    token: str

    @property
    def brought(self) -> list[int]:
        """The numbers of the files that came with this step."""
        return [i for i, before, _ in self.changes if before is None]


@dataclass
class Journal:
    """An export as its journal tells it.

    Attributes
    ----------
    id : str
        Identifies the export; never changes.
    steps : list of Step
    is_finished : bool
        Whether the last step is done.
    files : list of ExportedFile
        All files that were ever part of the export; their positions are their numbers.
    rows : list of (Row or None)
        Where each of them is after the last step; None if it is not in the export any more.
    earlier : dict of int to (Row or None)
        Where the files that the last step concerns were before it.
    known : dict of int to tuple
        The `identity` of files that were compared with their content.
    clusters : Clusters
    applied, undone : list of int
        The steps that the present state consists of, and those that `redo` would carry out.
    strange : set of int
        Steps that do not carry this user's mark.
    mark : str
        The mark of the last line.
    size : int
        Bytes up to the end of the last whole line.
    """

    id: str
    steps: list[Step] = field(default_factory=list)
    is_finished: bool = True
    files: list[ExportedFile] = field(default_factory=list)
    rows: list[Row | None] = field(default_factory=list)
    earlier: dict[int, Row | None] = field(default_factory=dict)
    known: dict[int, Identity] = field(default_factory=dict)
    clusters: Clusters = NO_CLUSTERS
    applied: list[int] = field(default_factory=list)
    undone: list[int] = field(default_factory=list)
    strange: set[int] = field(default_factory=set)
    mark: str = ""
    size: int = 0

    @property
    def last(self) -> Step:
        """The last step."""
        return self.steps[-1]

    def image(self, number: int, row: Row) -> ExportedImage:
        """Return the row of ``clusters.csv`` of a file."""
        name = folder_of(row.path) if row.path else ""
        source = self.files[number].source
        return ExportedImage(row.cluster, name, row.path, source, row.distance, row.reason)

    def changes_of(self, step: Step) -> list[Change]:
        """Return the changes of a step, also of one that takes others back or repeats them."""
        forward = step.command != "undo"
        found = list(step.changes)
        for number in step.of:
            earlier = self.changes_of(self.steps[number - 1])
            found += earlier if forward else [Change(i, a, b) for i, b, a in earlier]
        return found

    def clusters_after(self, step: Step) -> Clusters:
        """Return the clusters after a step, also after one that takes others back."""
        clusters = step.clusters[1] if step.clusters else self.clusters
        for number in step.of:
            if (pair := self.steps[number - 1].clusters) is not None:
                clusters = pair[step.command != "undo"]
        return clusters

    def with_step(self, step: Step) -> "Journal":
        """Return the journal with another step, as if that had been carried out as planned."""
        journal = replace(
            self,
            steps=[*self.steps],
            files=[*self.files],
            rows=[*self.rows],
            known=dict(self.known),
            applied=[*self.applied],
            undone=[*self.undone],
        )
        journal.add(step)
        return journal

    def add(self, step: Step) -> None:
        """Take a step into account, as if it had been carried out as planned."""
        if not self.is_finished:  # an interrupted step, which this one takes back
            self.applied += self.last.of or [self.last.number]
        self.clusters = self.clusters_after(step)
        self.steps.append(step)
        self.files += step.files
        self.rows += [None] * len(step.files)
        self.earlier = {}
        for number, before, after in self.changes_of(step):
            self.earlier.setdefault(number, self.rows[number] if step.of else before)
            self.rows[number] = after
        self.is_finished = False

    def finish(self, rows: dict[int, Row | None], known: dict[int, Identity]) -> None:
        """Take into account what became of the last step: rows other than planned."""
        for number, row in rows.items():
            self.rows[number] = row
        self.known |= known
        self.is_finished = True
        if self.last.command == "undo":
            for number in self.last.of:
                if not self._has_files_of(number):
                    self.applied.remove(number)
                    self.undone.append(number)
        else:
            self.applied += self.last.of or [self.last.number]
            self.undone = self.undone[: -len(self.last.of)] if self.last.of else []

    def _has_files_of(self, number: int) -> bool:
        """Return whether files that a step brought are still in the export."""
        return any((row := self.rows[i]) and row.path for i in self.steps[number - 1].brought)


def append_step(folder: Path, journal: Journal) -> None:
    """Record the last step of a journal before its first file is touched."""
    header = "" if journal.size else _marked({"format": FORMAT, "export": journal.id}, journal)
    line = journal.last._asdict()
    line = {"step": line.pop("number"), **line}
    if not header:
        _append(folder, journal, line)
        return
    text = header + _marked(line, journal)
    with replacing(folder / JOURNAL) as part:
        part.write_text(text, encoding="ascii", newline="\n")
    for above in (folder, folder.absolute().parent):
        sync(above)
    journal.size = len(text)


def append_done(
    folder: Path, journal: Journal, rows: dict[int, Row | None], known: dict[int, Identity]
) -> None:
    """Record that the last step is done, and what came out other than planned."""
    found = [[number, *values] for number, values in sorted(known.items())]
    _append(folder, journal, {"done": journal.last.number, "rows": [*rows.items()], "known": found})
    journal.finish(rows, known)
    if not (folder / RESERVE).exists():
        try:
            (folder / RESERVE).write_bytes(os.urandom(RESERVE_BYTES))
        except OSError:  # there is hardly any room already
            (folder / RESERVE).unlink(missing_ok=True)


def _append(folder: Path, journal: Journal, line: dict[str, Any]) -> None:
    text = _marked(line, journal).encode("ascii")
    try:
        _write(folder / JOURNAL, journal.size, text)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        (folder / RESERVE).unlink(missing_ok=True)
        _write(folder / JOURNAL, journal.size, text)
    journal.size += len(text)


def _write(path: Path, size: int, text: bytes) -> None:
    with open(path, "r+b") as file:
        file.truncate(size)  # a line that an interruption cut short
        file.seek(size)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _marked(line: dict[str, Any], journal: Journal) -> str:
    text = json.dumps(line, separators=(",", ":"))
    journal.mark = mark_of(journal.mark, text)
    return f'{text[:-1]},"mark":"{journal.mark}"}}\n'


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
        reason = "it has no journal" if folder.exists() else ABSENT
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
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():
        raise ValueError("a link, which is not followed")
    with open(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("not a regular file")
        journal: Journal | None = None
        for raw in file:
            try:
                line = json.loads(raw)
            except ValueError:
                # Only a whole object is valid JSON, so the line was cut short by a kill.
                if file.read(1):
                    raise
                break
            text = raw.decode("ascii").rstrip("\n")
            if journal is None:
                if line["format"] != FORMAT:
                    raise ValueError(
                        f"of format {line['format']}; this version reads {FORMAT}. The images are "
                        "complete where they are, so cluster them into a new folder"
                    )
                journal = Journal(str(line["export"]))
            _take(journal, line, text)
            journal.size += len(raw)
    if journal is None:
        raise ValueError("empty")
    return journal


def _take(journal: Journal, line: dict[str, Any], text: str) -> None:
    """Take one line of a journal into account."""
    mark = line.pop("mark")
    ending = f',"mark":"{mark}"}}'
    if not (isinstance(mark, str) and text.endswith(ending)):
        raise ValueError("without a mark")
    is_own = is_marked(mark, journal.mark, text[: -len(ending)] + "}")
    journal.mark = mark
    n_files = len(journal.files)
    if "step" in line:
        step = (_own_step if is_own else _step_from)(line, n_files)
        takes_back = journal.is_finished or journal.last.number in step.of
        if step.number != len(journal.steps) + 1 or not takes_back:
            raise ValueError(f"with step {step.number} out of order")
        journal.add(step)
        n_labels = len(journal.clusters.folders)
        if any(row and not SET_ASIDE <= row.cluster < n_labels for _, _, row in step.changes):
            raise ValueError("with a cluster that has no folder")
    elif "done" in line:
        if journal.is_finished or line["done"] != journal.last.number:
            raise ValueError(f"with the end of step {line['done']} out of order")
        rows = {_number(i, n_files): _row_from(row) for i, row in line["rows"]}
        known = {_number(i, n_files): (int(a), int(b), int(c)) for i, a, b, c in line["known"]}
        journal.finish(rows, known)
    if journal.steps and not is_own:
        journal.strange.add(journal.last.number)


def _own_step(line: dict[str, Any], n_files: int) -> Step:
    """Return a step that carries this user's mark, which proves that it is as it was written."""
    line["number"] = line.pop("step")
    line["files"] = [
        ExportedFile(source, action, content and Content(*content), owner, real)
        for source, action, content, owner, real in line["files"]
    ]
    line["changes"] = [
        Change(i, before and Row(*before), after and Row(*after))
        for i, before, after in line["changes"]
    ]
    line["others"] = [(before, after) for before, after in line["others"]]
    if (pair := line["clusters"]) is not None:
        line["clusters"] = (Clusters(*pair[0]), Clusters(*pair[1]))
    return Step(**line)


def _step_from(line: dict[str, Any], n_files: int) -> Step:
    """Return a step that a stranger wrote, after checking all that it says."""
    line["number"] = int(line.pop("step"))
    line["files"] = [_file_from(*values) for values in line["files"]]
    n_files += len(line["files"])
    line["changes"] = [
        Change(_number(i, n_files), _row_from(before), _row_from(after))
        for i, before, after in line["changes"]
    ]
    line["others"] = [(_inside(before), _inside(after)) for before, after in line["others"]]
    if (pair := line["clusters"]) is not None:
        line["clusters"] = (_clusters_from(*pair[0]), _clusters_from(*pair[1]))
    step = Step(**line)
    concerns = all(type(n) is int and 0 < n < step.number for n in step.of)
    if step.command not in COMMANDS or not concerns or not str(step.token).isalnum():
        raise ValueError(f"of a newer format, with the command {step.command}")
    return step


def _file_from(
    source: Any, action: Any, content: Any, owner: int | None, real: str | None
) -> ExportedFile:
    is_path = isinstance(source, str) and os.path.isabs(source) and "\0" not in source
    is_path &= real is None or os.path.isabs(real)
    if not is_path or action not in ACTIONS or type(owner) not in (int, type(None)):
        raise ValueError(f"with the source {source!r}")
    known = None if content is None else Content(int(content[0]), str(content[1]))
    return ExportedFile(source, action, known, owner, real)


def _row_from(values: Sequence[Any] | None) -> Row | None:
    if values is None:
        return None
    path, cluster, distance, reason = values
    is_valid = type(cluster) is int and isinstance(distance, (int, float, type(None)))
    if not is_valid or not isinstance(reason, str):
        raise ValueError(f"with the row {values!r}")
    return Row(None if path is None else _inside(path), cluster, distance, reason)


def _clusters_from(folders: Any, model: Any, centers: Any, distance_limit: Any) -> Clusters:
    known = [_inside(folder) for folder in folders]
    if isinstance(folders, str) or any(not 0 <= int(i) < len(known) for i in centers):
        raise ValueError("with clusters that have no folder")
    limit = None if distance_limit is None else float(distance_limit)
    if model is not None and not re.fullmatch(MODEL_NAME, model):
        raise ValueError(f"with the model {model!r}")
    return Clusters(known, model, [int(i) for i in centers], limit)


def _number(value: Any, n_files: int) -> int:
    if type(value) is not int or not 0 <= value < n_files:
        raise ValueError(f"with the file {value!r}")
    return value


def _inside(path: Any) -> str:
    """Return a path after checking that it stays in the folder, on every system."""
    # Exports are shared, so the journal of a stranger must do no harm.
    if not (isinstance(path, str) and _RELATIVE.fullmatch(path)):
        raise ValueError(f"with a path outside the folder: {path!r}")
    if path[: len(HIDDEN_PREFIX)].casefold() == HIDDEN_PREFIX:
        raise ValueError(f"with a path among the hidden files: {path!r}")
    return path

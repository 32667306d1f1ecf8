"""An export that is open in a browser: its present state, and the steps made there."""

import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans import exports
from resnet_kmeans._folder_names import JOURNAL
from resnet_kmeans.exceptions import (
    BusyFolderError,
    CurationError,
    OutputFolderError,
    ResNetKMeansError,
    printable,
)
from resnet_kmeans.export import LoggedStep, read_export, watching
from resnet_kmeans.report import describe_album, render, without_warnings

KEPT_STEPS = 30  # lines of the history on the page
# Steps that bring images. They are not taken back on a page, where one more Ctrl-Z is easily
# pressed.
BRINGING = ("export", "add")
WORDS = {"apply": "move", "rename": "rename or merge"}


class Stopped(Exception):
    """A person stopped a step."""


class OpenAlbum:
    """An export that is open in a browser.

    What reads or writes the export must be called by one thread at a time. `points`, `progress`
    and `stop` are for other threads.

    Parameters
    ----------
    folder : str or path-like
        The folder of a finished export.

    Attributes
    ----------
    content : dict
        What the page shows, as `describe_album` returns it, with the history of the export.
    paths : dict of int to str
        The present path of each image in the folder, by its number.
    progress : dict
        ``"done"`` and ``"total"``, how many files of the present step are done, and of how many;
        0 between steps. ``"isStoppable"`` says whether `stop` takes it back.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        self.progress = {"done": 0, "total": 0, "isStoppable": False}
        self._is_stopped = False
        self._points: list[list[float]] = []
        self._drawing = threading.Lock()
        self.read()

    def read(self) -> None:
        """Read the export.

        Raises
        ------
        OutputFolderError
            If it is not an export, or a command on it was interrupted.
        """
        written = self._last_written()
        state = read_export(self.folder)
        summary, view = exports.summarize_export(
            self.folder, state, max_shown=None, projection=None
        )
        content = describe_album(summary, view)
        content["export"] |= self._history()
        pairs = zip(view.numbers, view.paths)
        self.paths = {number: path for number, path in pairs if path}
        self.summary, self.view, self.content = summary, view, content
        self._state = state
        self._written: tuple[int, ...] | None = written

    def look(self) -> None:
        """Read the export if it was written since, by another program too.

        A step that was interrupted leaves the album as it was before, with a note.
        """
        written = self._last_written()
        if written == self._written:
            return
        try:
            self.read()
        except BusyFolderError:
            raise
        except OutputFolderError:
            history = self._history()  # raises an error if the export is gone
            if not history["interrupted"]:
                raise
            state = f"{self.content['export']['state'].rstrip('!')}!"
            known = {**self.content["export"], **history, "state": state}
            self.content, self._written = {**self.content, "export": known}, written

    def _last_written(self) -> tuple[int, ...]:
        try:
            status = os.stat(self.folder / JOURNAL)
        except OSError:
            return ()
        return status.st_size, status.st_mtime_ns, status.st_ino

    def _history(self) -> dict[str, Any]:
        log = exports.export_log(self.folder)
        undo, redo = _next_steps(log)
        is_bringing = undo is not None and undo.command in BRINGING
        return {
            "isServed": True,
            "undo": undo and not is_bringing and _words(undo),
            "redo": redo and redo.command not in BRINGING and _words(redo),
            "reason": "To take back what brought the images: resnet-kmeans undo",
            "steps": [f"{step.time[11:16]}  {_words(step)}" for step in log[::-1][:KEPT_STEPS]],
            "interrupted": log[-1].state == "interrupted",
        }

    def page(self, nonce: str) -> str:
        """Return the page, with all images as they are now, moved by hand or not."""
        self._written = None
        self.look()
        return render(self.summary, self.content, self.view, "served", nonce)

    def points(self) -> list[list[float]]:
        """Return the map: x, y and the number of each image that it contains."""
        with self._drawing:
            if not self._points:
                summary, view = exports.summarize_export(self.folder, self._state, max_shown=None)
                mapped = np.asarray(view.numbers)[summary.mapped]
                pairs = zip(summary.positions.round(4).tolist(), mapped.tolist())
                self._points = [[*point, number] for point, number in pairs]
            return self._points

    def take(self, asked: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Make a step on the export; return the album after it, and what to say about it.

        Parameters
        ----------
        asked : dict
            ``{"names": [[label, name], …], "moves": [[number, folder or None], …]}``, or
            ``{"do": "split", "label": label, "k": number}``, or ``{"do": command}`` for "undo",
            "redo" and "finish"; with the ``"known"`` state of the album that it was asked for.

        Raises
        ------
        ResNetKMeansError
            If the step cannot be made, or was interrupted, or the album has changed.
        KeyError, TypeError, ValueError
            If it is malformed.
        """
        known = asked.get("known", self.content["export"]["state"])
        self.look()
        if known != self.content["export"]["state"]:
            raise CurationError(
                "The album was changed meanwhile, in another window or by a command. Nothing was "
                "done. Look at it as it is now, and decide again."
            )
        # To stop half an undo, or half of what finishes a step, would leave neither state.
        self.progress["isStoppable"] = asked.get("do") in (None, "split")
        self._is_stopped = False
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                with without_warnings(), watching(self._watch):
                    said = self._make(asked)
            except Stopped:
                exports.undo_export(self.folder)
                said = "Stopped: everything is as it was."
            finally:
                self.progress = {"done": 0, "total": 0, "isStoppable": False}
                self._written = None  # what is not there any more is no step, but is seen
                with suppress(ResNetKMeansError):  # what prevented the step is said instead
                    self.look()
        return self.content, " ".join([said, *(str(each.message) for each in caught)]).strip()

    def _make(self, asked: dict[str, Any]) -> str:
        command = asked.get("do")
        if command == "split":
            exports.split_cluster(self.folder, self._folder_of(asked["label"]), int(asked["k"]))
        elif command == "undo":
            what = self._require_correction(0)
            exports.undo_export(self.folder)
            return f"Undone: {what}"
        elif command == "redo":
            what = self._require_correction(1)
            exports.redo_export(self.folder)
            return f"Redone: {what}"
        elif command == "finish":
            exports.finish_export(self.folder)
        elif command is None:
            self._correct(asked.get("names", []), asked.get("moves", []))
        else:
            raise ValueError(f"Expected a step, got {command!r}. Nothing was done.")
        return ""

    def _correct(self, names: Sequence[Any], moves: Sequence[Any]) -> None:
        renamed = {self._folder_of(label): name for label, name in names}
        if len(renamed) == 1 and not moves:
            exports.rename_cluster(self.folder, *renamed.popitem())
            return
        paths = {_known(self.paths, number, "number of an image"): to for number, to in moves}
        if paths and not renamed and all(p.split("/")[0] == to for p, to in paths.items()):
            exports.confirm_images(self.folder, paths)
            return
        curation = {
            "format": 1,
            "export": self.view.id,
            "revision": self.view.revision,
            "names": renamed,
            "moves": paths,
        }
        exports.apply_curation(self.folder, curation)

    def _folder_of(self, label: int) -> str:
        clusters = self.content["clusters"]
        folders = {cluster["label"]: str(cluster["folder"]) for cluster in clusters}
        return _known(folders, label, "label of a cluster")

    def _require_correction(self, which: int) -> str:
        """Return words for the step that undo (0) or redo (1) concerns; it brings no images."""
        step = _next_steps(exports.export_log(self.folder))[which]
        if step and step.command in BRINGING:
            raise OutputFolderError(
                f"The step {_words(step)!r} concerns what the album contains. Nothing was done. "
                f"In a terminal: resnet-kmeans undo {printable(self.folder)}, or redo."
            )
        return _words(step) if step else ""

    def _watch(self, n_done: int, n_total: int) -> None:
        self.progress |= {"done": n_done, "total": n_total}
        if self._is_stopped and self.progress["isStoppable"]:
            raise Stopped

    def stop(self) -> None:
        """Stop the present step, which is then taken back, if it is stoppable."""
        self._is_stopped = True


def _known(values: Mapping[int, str], number: int, what: str) -> str:
    if number in values:
        return values[number]
    raise CurationError(
        f"Expected the {what}, got {printable(number)}. Nothing was done. Look at the page again."
    )


def _next_steps(log: Sequence[LoggedStep]) -> tuple[LoggedStep | None, LoggedStep | None]:
    """Return the steps that undo and redo would concern."""
    done: list[LoggedStep] = []
    undone: list[LoggedStep] = []
    for step in log:
        if step.command == "undo":
            undone += [done.pop() for _ in step.of if done]
        elif step.command == "redo":
            done += [undone.pop() for _ in step.of if undone]
        else:
            done, undone = [*done, step], []
    return done[-1] if done else None, undone[-1] if undone else None


def _words(step: LoggedStep) -> str:
    images = f"{step.n_images:,} image{'' if step.n_images == 1 else 's'}"
    of = f" of step {', '.join(map(str, step.of))}" if step.of else ""
    state = "" if step.state == "done" else f" ({step.state})"
    return f"{step.number}. {WORDS.get(step.command, step.command)}{of}, {images}{state}"

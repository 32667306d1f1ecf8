"""Plans an export: the path of each image, checked before anything is written."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from resnet_kmeans._files import HIDDEN_PREFIX
from resnet_kmeans._folder_names import (
    JOURNAL,
    MAX_NAME_BYTES,
    NOISE,
    NOISE_NAME,
    name_folders,
    name_key,
)
from resnet_kmeans.exceptions import OutputFolderError, list_reasons, printable
from resnet_kmeans.export.files import ACTIONS
from resnet_kmeans.export.table import ExportedImage

# Written by the file managers of Windows, macOS and KDE.
SYSTEM_FILES = ("thumbs.db", "desktop.ini", ".ds_store", ".directory")
MAX_SUFFIX = 16  # characters; a longer "extension" is rather a part of the name with a dot


def plan_export(
    image_paths: Sequence[str | os.PathLike[str]],
    labels: Sequence[int] | np.ndarray,
    distances: Sequence[float] | np.ndarray | None = None,
    reasons: Mapping[str, str] | None = None,
    n_clusters: int | None = None,
    names: Sequence[str] | Mapping[int, str] | None = None,
) -> tuple[list[ExportedImage], list[str]]:
    """Return the images of an export with their new paths, and the folder of each label.

    The disk is not touched.

    Raises
    ------
    ClusterNameError
        If a name is not valid for a folder.
    ValueError
        If there are more or fewer labels than images.
    """
    if len(image_paths) != len(labels):
        raise ValueError(
            f"Expected one label per path, got {len(labels)} labels for {len(image_paths)} paths. "
            "Nothing was written. Pass the labels in the order of the paths."
        )
    n_named = max(names, default=-1) + 1 if isinstance(names, Mapping) else len(names or [])
    n_labels = max([*(int(label) + 1 for label in labels), n_clusters or 1, n_named])
    folders = name_folders(n_labels, names)
    taken: dict[str, int] = {}
    plan = []
    for i, (path, label) in enumerate(zip(image_paths, labels)):
        source = os.path.abspath(path)
        if label < 0 and label != NOISE:
            reason = (reasons or {}).get(os.fspath(path), "")
            plan.append(ExportedImage(-1, "", None, source, None, reason))
            continue
        name = NOISE_NAME if label == NOISE else folders[int(label)]
        target = free_name(f"{name}/", os.path.basename(source), taken)
        distance = None if distances is None or label == NOISE else float(distances[i])
        plan.append(ExportedImage(int(label), name, target, source, distance))
    return plan, folders


def free_name(folder: str, name: str, taken: dict[str, int]) -> str:
    """Return a free path in a folder, with a number appended to the name if it is taken.

    Parameters
    ----------
    folder : str
        With a trailing ``/``.
    name : str
    taken : dict of str to int
        The last number used for each path, by its `name_key`. The new path is added. As
        counting goes on from that number, 10,000 equal names take only linear time.
    """
    first = name_key(folder + name)
    number = taken.setdefault(first, 0) + 1
    numbered = name if number == 1 else _numbered(name, number)
    while number > 1 and name_key(folder + numbered) in taken:
        number += 1
        numbered = _numbered(name, number)
    taken[first] = number
    taken.setdefault(name_key(folder + numbered), 1)
    return folder + numbered


def _numbered(name: str, number: int) -> str:
    stem, suffix = os.path.splitext(name)
    if len(suffix) > MAX_SUFFIX:
        stem, suffix = name, ""
    ending = f"_{number}{suffix}"
    # Characters are removed, not bytes, because half of an "é" is not a valid name.
    while len(os.fsencode(stem + ending)) > MAX_NAME_BYTES:
        stem = stem[:-1]
    return stem + ending


def check_action(action: str) -> None:
    """Raise a ValueError if the action is unknown."""
    if action not in ACTIONS:
        raise ValueError(
            f"Expected an action from {ACTIONS}, got {action!r}. Nothing was done. Choose one of "
            "them."
        )


def check_empty(folder: Path, inside: Path | None = None) -> None:
    """Check that a folder is missing or empty, writable, and outside the input folder.

    Raises
    ------
    OutputFolderError
        If it is not.
    """
    problem = _reason_not_empty(folder)
    if inside is not None and folder.resolve().is_relative_to(inside.resolve()):
        problem = (
            f"which is in the input folder {printable(inside)}; a second run would treat the "
            "copies as new images"
        )
    if problem:
        raise OutputFolderError(
            f"Expected a new or empty folder outside the input folder, got {printable(folder)}, "
            f"{problem}. Nothing was written or overwritten. Choose another folder."
        )


def _reason_not_empty(folder: Path) -> str:
    """Return why a folder cannot be used for a new export, or ''."""
    try:
        names = [name for name in os.listdir(folder) if name.lower() not in SYSTEM_FILES]
    except FileNotFoundError:
        names = []
    except OSError as error:
        return f"which cannot be listed: {error.strerror}"
    # A process killed before it wrote the journal leaves hidden files, which are replaced.
    if found := [n for n in names if n == JOURNAL or not n.startswith(HIDDEN_PREFIX)]:
        return f"which is not empty (entries: {len(found)}, for example {printable(min(found))})"
    existing = _nearest_existing(folder)
    is_writable = os.access(existing, os.W_OK | os.X_OK)
    return "" if is_writable else f"where {printable(existing)} is not writable"


def _nearest_existing(folder: Path) -> Path:
    """Return the folder itself, or its nearest parent that exists."""
    return next(p for p in [folder, *folder.absolute().parents] if p.exists())


def check_images(plan: Sequence[ExportedImage], folder: Path, action: str) -> None:
    """Check that all images of a plan can be exported.

    Raises
    ------
    OutputFolderError
        If an image, a permission or disk space is missing. The message lists every problem.
    """
    existing = _nearest_existing(folder)
    device = os.stat(existing).st_dev
    bad: dict[str, str] = {}
    needed = 0  # bytes; links, and moves within a file system, take none
    seen: set[str] = set()
    for source in [image.source_path for image in plan if image.exported_path is not None]:
        if reason := _reason_not_exportable(source, action, device, seen):
            bad[source] = reason
        elif action == "copy" or (action == "move" and os.stat(source).st_dev != device):
            needed += os.stat(source).st_size
        seen.add(source)
    if needed > (free := shutil.disk_usage(existing).free):
        bad[str(existing)] = f"{needed} bytes are needed, {free} are free"
    if bad:
        raise OutputFolderError(
            f"The export cannot be made with action={action!r}:\n{list_reasons(bad)}\n"
            "Nothing was written. Correct these problems, or choose another action or folder."
        )


def _reason_not_exportable(source: str, action: str, device: int, seen: set[str]) -> str:
    """Return why a file cannot be exported, or ''."""
    if not os.path.isfile(source) or not os.access(source, os.R_OK):
        return "missing, not a file, or not readable"
    if action == "hardlink" and os.stat(source).st_dev != device:
        return "on another file system than the output folder, so a hard link is impossible"
    if action != "move":
        return ""
    if os.path.islink(source):
        return "a symbolic link, which may break if it is moved"
    if not os.access(os.path.dirname(source), os.W_OK):
        return "its folder is not writable"
    return "listed twice" if source in seen else ""

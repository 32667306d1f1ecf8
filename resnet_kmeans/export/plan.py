"""Decides where each image of an export goes, refusing what cannot be done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from resnet_kmeans.cluster_names import MAX_NAME_BYTES, NOISE, NOISE_NAME, compared
from resnet_kmeans.exceptions import OutputFolderError, list_reasons, printable
from resnet_kmeans.export.names import name_folders

OURS = ".resnet-kmeans."  # what the hidden files of an export begin with
JOURNAL = f"{OURS}jsonl"
MAX_SUFFIX = 16  # characters; what is longer is no extension, but a dot in the name


class ExportedImage(NamedTuple):
    """One row of ``clusters.csv``.

    Attributes
    ----------
    cluster : int
        -1 for an image that could not be read or was set aside, -2 for one that the clusterer
        took for noise.
    name : str
        Of the cluster, which is that of its folder.
    exported_path : str or None
        Relative to the output folder, with ``/``; None for an image that could not be read.
    source_path : str
        Where it came from, absolute.
    distance : float or None
        To the cluster's centre, where known.
    reason : str
        Why the image could not be read, was set aside or fits badly; else empty.
    """

    cluster: int
    name: str
    exported_path: str | None
    source_path: str
    distance: float | None = None
    reason: str = ""


def plan_export(
    image_paths: Sequence[str | os.PathLike[str]],
    labels: Sequence[int],
    distances: Sequence[float] | None = None,
    reasons: Mapping[str, str] | None = None,
    n_clusters: int | None = None,
    names: Sequence[str] | Mapping[int, str] | None = None,
) -> tuple[list[ExportedImage], list[str]]:
    """Decide where each image goes, touching no disk; return that and the folder of each label."""
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
    """Number a name that is taken; `taken` holds the last number of each name."""
    first = compared(folder + name)
    number = taken.setdefault(first, 0) + 1
    numbered = name if number == 1 else _numbered(name, number)
    while number > 1 and compared(folder + numbered) in taken:
        number += 1
        numbered = _numbered(name, number)
    taken[first] = number
    taken.setdefault(compared(folder + numbered), 1)
    return folder + numbered


def _numbered(name: str, number: int) -> str:
    stem, suffix = os.path.splitext(name)
    if len(suffix) > MAX_SUFFIX:
        stem, suffix = name, ""
    ending = f"_{number}{suffix}"
    while len(os.fsencode(stem + ending)) > MAX_NAME_BYTES:
        stem = stem[:-1]
    return stem + ending


def check_output_folder(folder: Path, inside: Path | None = None) -> None:
    """Refuse a folder that is not empty, not writable, or in the folder of the images.

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
        found = [n for n in os.listdir(folder) if n == JOURNAL or not n.startswith(OURS)]
    except FileNotFoundError:
        found = []
    except OSError as error:
        raise OutputFolderError(
            f"Expected a folder to write to, got {printable(folder)}: {error.strerror}. Nothing "
            "was written. Choose another folder."
        ) from error
    if found:
        raise OutputFolderError(
            f"Expected a new or empty output folder, got {printable(folder)} with "
            f"{len(found)} entries. Nothing was written or overwritten. Choose another folder."
        )
    there = _nearest_existing(folder)
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputFolderError(
            f"Expected a folder to write to, got {printable(there)}: not writable. Nothing was "
            "written. Choose another folder."
        )


def _nearest_existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    return next(p for p in [folder, *folder.absolute().parents] if p.exists())


def check_images(plan: Sequence[ExportedImage], folder: Path, action: str) -> None:
    """Refuse a plan that cannot be carried out, all its faults at once.

    Raises
    ------
    OutputFolderError
        If an image or the permission or space for it is not there.
    """
    there = _nearest_existing(folder)
    device = os.stat(there).st_dev
    bad: dict[str, str] = {}
    needed = 0
    seen: set[str] = set()
    for source in [image.source_path for image in plan if image.exported_path is not None]:
        if why := _obstacle(source, action, device, seen):
            bad[source] = why
        elif action == "copy" or (action == "move" and os.stat(source).st_dev != device):
            needed += os.stat(source).st_size
        seen.add(source)
    if needed > (free := shutil.disk_usage(there).free):
        bad[str(there)] = f"{needed} bytes are needed, {free} are free"
    if bad:
        raise OutputFolderError(
            f"Expected images that can be exported with action={action!r}, got:\n"
            f"{list_reasons(bad)}\nNothing was written. Mend this, or choose another action "
            "or folder."
        )


def _obstacle(source: str, action: str, device: int, seen: set[str]) -> str:
    if not os.path.isfile(source) or not os.access(source, os.R_OK):
        return "gone, not a file, or not readable"
    if action == "hardlink" and os.stat(source).st_dev != device:
        return "on another file system, where no hard link reaches"
    if action != "move":
        return ""
    if os.path.islink(source):
        return "a link, which may break where it is moved to"
    if not os.access(os.path.dirname(source), os.W_OK):
        return "its folder is not writable"
    return "listed twice" if source in seen else ""

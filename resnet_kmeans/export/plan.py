"""Decides where each image of an export goes, refusing what cannot be done."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from resnet_kmeans.cluster_names import NOISE, NOISE_NAME
from resnet_kmeans.exceptions import OutputFolderError, list_reasons, printable

PART = ".resnet-kmeans.part"  # the one file being written, renamed when it is whole
MAX_NAME_BYTES = 255  # of ext4, APFS, NTFS and others
MAX_SUFFIX = 16  # characters; what is longer is no extension, but a dot in the name


class ExportedImage(NamedTuple):
    """One row of ``clusters.csv``.

    Attributes
    ----------
    cluster : int
        -1 for an image that could not be read, -2 for one that the clusterer took for noise.
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


def plan_export(
    image_paths: Sequence[str | os.PathLike[str]],
    labels: Sequence[int],
    distances: Sequence[float] | None = None,
    reasons: Mapping[str, str] | None = None,
    n_clusters: int | None = None,
) -> list[ExportedImage]:
    """Decide where each image goes; touches no disk."""
    width = len(str(max([*(int(label) for label in labels), (n_clusters or 1) - 1])))
    taken: dict[str, int] = {}
    plan = []
    for i, (path, label) in enumerate(zip(image_paths, labels)):
        source = os.path.abspath(path)
        if label < 0 and label != NOISE:
            reason = (reasons or {}).get(os.fspath(path), "")
            plan.append(ExportedImage(-1, None, source, None, reason))
            continue
        folder = NOISE_NAME if label == NOISE else f"cluster_{int(label):0{width}d}"
        target = _free_name(f"{folder}/", os.path.basename(source), taken)
        distance = None if distances is None or label == NOISE else float(distances[i])
        plan.append(ExportedImage(int(label), target, source, distance))
    return plan


def _free_name(folder: str, name: str, taken: dict[str, int]) -> str:
    """Number a name that is taken; `taken` holds the last number of each name."""
    first = _as_compared(folder + name)
    number = taken.setdefault(first, 0) + 1
    numbered = name if number == 1 else _numbered(name, number)
    while number > 1 and _as_compared(folder + numbered) in taken:
        number += 1
        numbered = _numbered(name, number)
    taken[first] = number
    taken.setdefault(_as_compared(folder + numbered), 1)
    return folder + numbered


def _as_compared(path: str) -> str:
    # Windows and macOS take a.JPG and a.jpg for one file, macOS also é and e with an accent.
    return unicodedata.normalize("NFC", path).casefold()


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
        found = [name for name in os.listdir(folder) if name != PART]
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
    there = _nearest(folder)
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputFolderError(
            f"Expected a folder to write to, got {printable(there)}: not writable. Nothing was "
            "written. Choose another folder."
        )


def _nearest(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    return next(p for p in [folder, *folder.absolute().parents] if p.exists())


def check_images(plan: Sequence[ExportedImage], folder: Path, action: str) -> None:
    """Refuse a plan that cannot be carried out, all its faults at once.

    Raises
    ------
    OutputFolderError
        If an image or the permission or space for it is not there.
    """
    there = _nearest(folder)
    device = os.stat(there).st_dev
    bad: dict[str, str] = {}
    needed = 0
    seen: set[str] = set()
    for source in [image.source_path for image in plan if image.exported_path is not None]:
        if why := _why_not(source, action, device, seen):
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


def _why_not(source: str, action: str, device: int, seen: set[str]) -> str:
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

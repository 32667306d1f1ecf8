"""Plans an export: the path of each image, checked before anything is written."""

import functools
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from resnet_kmeans._files import HIDDEN_PREFIX
from resnet_kmeans._folder_names import (
    JOURNAL,
    MAX_NAME_BYTES,
    NOISE,
    NOISE_NAME,
    SYSTEM_FILES,
    UNREADABLE,
    is_refused,
    name_folders,
    name_key,
)
from resnet_kmeans.exceptions import OutputFolderError, list_reasons, printable
from resnet_kmeans.export.files import ACTIONS, place_file
from resnet_kmeans.export.table import ExportedImage

# Files that belong to a photo of the same name: the video of a Live Photo, edits of photo editors
# and of iPhones, and Google's metadata.
COMPANIONS = (".mov", ".xmp", ".aae", ".json")
MAX_CLUSTERS = 10**6  # far beyond any folder that a person could use
COMMON_NAME_LENGTH = 100  # file systems with encrypted names take 143 bytes
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
    if n_labels > MAX_CLUSTERS:
        raise ValueError(
            f"Expected labels below {MAX_CLUSTERS}, got {n_labels - 1}. Nothing was written. "
            "Number the clusters from 0."
        )
    folders = name_folders(n_labels, names)
    taken: dict[str, int] = {}
    plan = []
    for i, (path, label) in enumerate(zip(image_paths, labels)):
        source = absolute(path)
        reason = (reasons or {}).get(os.fspath(path), "")
        if label < 0 and label != NOISE:
            plan.append(ExportedImage(UNREADABLE, "", None, source, None, reason))
            continue
        name = NOISE_NAME if label == NOISE else folders[int(label)]
        target = free_name(f"{name}/", portable(os.path.basename(source)), taken)
        distance = None if distances is None or label == NOISE else float(distances[i])
        plan.append(ExportedImage(int(label), name, target, source, distance, reason))
    return plan, folders


def real_path(path: str) -> str:
    """Return a path without links; the folder of many files is looked at once a command."""
    if os.path.islink(path):
        return os.path.realpath(path)
    folder, name = os.path.split(path)
    return os.path.join(_real_folder(folder), name)


@functools.lru_cache(1024)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def absolute(path: str | os.PathLike[str]) -> str:
    """Return an absolute path of the same file."""
    folder, name = os.path.split(os.fspath(path))
    if os.pardir in Path(path).parts:  # of the folder that a link leads to
        return os.path.join(os.path.realpath(folder), name)
    return os.path.abspath(path)


def find_companions(
    images: Sequence[ExportedImage], taken: Mapping[str, int] | None = None
) -> list[tuple[int, ExportedImage]]:
    """Return the files that belong to images by their names, each with one image.

    Parameters
    ----------
    images : sequence of ExportedImage
    taken : mapping of str to int, default=None
        Paths that are not free, as for `free_name`; those of the images are not free either.

    Returns
    -------
    list of (int, ExportedImage)
        The position of the image, and the file as another one in its cluster.
    """
    by_folder: dict[str, dict[str, int]] = {}
    for i, image in enumerate(images):
        if image.exported_path:
            folder, name = os.path.split(image.source_path)
            names = by_folder.setdefault(folder, {})
            stem = os.path.splitext(name)[0]
            # "a.jpg" owns "a.jpg.json"; "a.jpg" or "a.heic" owns "a.mov". Of "A.jpg" and "a.jpg",
            # each owns what is spelled like it.
            names[name] = i
            for key in (name_key(name), stem, name_key(stem)):
                names.setdefault(key, i)
    used = {**(taken or {}), **{name_key(i.exported_path): 1 for i in images if i.exported_path}}
    found = []
    for folder, names in by_folder.items():
        for name in sorted(os.listdir(folder)):
            stem, suffix = os.path.splitext(name)
            # Google's "a.jpg.supplemental-metadata.json" has one more part, perhaps cut short.
            parts = (stem, os.path.splitext(stem)[0])
            keys = [key for part in parts for key in (part, name_key(part))]
            owner = next((names[key] for key in keys if key in names), None)
            path = os.path.join(folder, name)
            is_regular = os.path.isfile(path) and not os.path.islink(path)
            if suffix.lower() in COMPANIONS and owner is not None and is_regular:
                image = images[owner]
                target = free_path(beside(image.source_path, name, str(image.exported_path)), used)
                found.append((owner, image._replace(source_path=path, exported_path=target)))
    return found


def beside(image: str, companion: str, target: str) -> str:
    """Return the path of a companion once its image is at `target`, called alike as before."""
    name, new = os.path.basename(image), os.path.basename(target)
    companion = os.path.basename(companion)
    if not companion.startswith(name):
        name, new = os.path.splitext(name)[0], os.path.splitext(new)[0]
    return f"{os.path.dirname(target)}/{portable(new + companion[len(name) :])}"


def portable(name: str) -> str:
    """Return a file name with ``_`` for what is a drive or a folder on another system."""
    return name.replace(":", "_").replace("\\", "_")


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
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        name = _numbered(name, 1)
    first = name_key(folder + name)
    number = taken.setdefault(first, 0) + 1
    numbered = name if number == 1 else _numbered(name, number)
    while number > 1 and name_key(folder + numbered) in taken:
        number += 1
        numbered = _numbered(name, number)
    taken[first] = number
    taken.setdefault(name_key(folder + numbered), 1)
    return folder + numbered


def free_path(path: str, taken: dict[str, int]) -> str:
    """Return a path, or one with a number appended to its name if it is taken."""
    inner, base = os.path.split(path)
    return free_name(f"{inner}/" * bool(inner), base, taken)


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


def check_empty(folder: Path) -> None:
    """Check that a folder is missing or empty, and writable.

    Raises
    ------
    OutputFolderError
        If it is not.
    """
    if problem := _reason_not_empty(folder):
        raise OutputFolderError(
            f"Expected a new or empty folder, got {printable(folder)}, {problem}. Nothing was "
            "written or overwritten. Choose another folder."
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
    """Check that all images of a plan can be exported; nothing is written.

    Raises
    ------
    OutputFolderError
        If an image, a permission or disk space is missing. The message lists every problem.
    """
    _real_folder.cache_clear()  # a link may have come since the command before
    existing = _nearest_existing(folder)
    device = os.stat(existing).st_dev
    block = getattr(os.statvfs(existing), "f_frsize", 1) if hasattr(os, "statvfs") else 1
    bad: dict[str, str] = {}
    needed = 0  # bytes; links, and moves within a file system, take none
    seen: set[str] = set()
    placed = [image for image in plan if image.exported_path is not None]
    for source in [image.source_path for image in placed]:
        if reason := _reason_not_exportable(source, action, device, seen):
            bad[source] = reason
        elif action == "copy" or (action == "move" and os.stat(source).st_dev != device):
            needed += -(-os.stat(source).st_size // block) * block  # whole blocks, rounded up
    if needed > (free := shutil.disk_usage(existing).free):
        bad[str(existing)] = f"{needed} bytes are needed, {free} are free"
    _raise_if(bad, action)


def _raise_if(bad: Mapping[str, str], action: str) -> None:
    if bad:
        raise OutputFolderError(
            f"The export cannot be made with action={action!r}:\n{list_reasons(bad)}\n"
            "Nothing was written. Correct these problems, or choose another action or folder."
        )


def ask_file_system(plan: Sequence[ExportedImage], folder: Path, action: str) -> None:
    """Check that the file system of a folder takes the names and links of a plan, by trying.

    Raises
    ------
    OutputFolderError
        If it does not. The message lists every problem.
    """
    bad: dict[str, str] = {}
    placed = [image for image in plan if image.exported_path is not None]
    names = {part for image in placed for part in str(image.exported_path).split("/")}
    unusual = {
        name
        for name in names
        if len(name) > COMMON_NAME_LENGTH or not name.isascii() or any(map(is_refused, name))
    }
    if not placed or (not unusual and action not in ("hardlink", "symlink")):
        return
    with tempfile.TemporaryDirectory(prefix=HIDDEN_PREFIX, dir=folder) as probe:
        for name in sorted(unusual):
            try:
                os.close(os.open(os.path.join(probe, name), os.O_CREAT | os.O_WRONLY))
                os.unlink(os.path.join(probe, name))
            except OSError as error:
                bad[name] = f"its file system refuses this name: {error.strerror}"
        try:
            if action in ("hardlink", "symlink"):
                place_file(action, placed[0].source_path, Path(probe, "link"), Path(probe, "part"))
        except OSError as error:
            bad[str(folder)] = f"its file system refuses a {action}: {error.strerror}"
    _raise_if(bad, action)


def _reason_not_exportable(source: str, action: str, device: int, seen: set[str]) -> str:
    """Return why a file cannot be exported, or ''; what is to be moved is added to `seen`."""
    if not os.path.isfile(source) or not os.access(source, os.R_OK):
        return "missing, not a file, or not readable"
    if action == "hardlink" and os.stat(source).st_dev != device:
        return "on another file system than the output folder, so a hard link is impossible"
    if action != "move":
        return ""
    if os.path.islink(source):
        return "a symbolic link, which may break if it is moved"
    parent = os.path.dirname(source)
    if not os.access(parent, os.W_OK):
        return "its folder is not writable"
    folder = os.stat(parent)
    owners = {folder.st_uid, os.stat(source).st_uid}
    user = getattr(os, "geteuid", lambda: 0)()
    if folder.st_mode & stat.S_ISVTX and user != 0 and user not in owners:
        return "of another user, whose files in this folder only they can move"
    if (real := real_path(source)) in seen:
        return "listed twice"
    seen.add(real)
    return ""

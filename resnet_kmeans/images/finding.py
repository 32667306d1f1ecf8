"""Lists the image files of a folder."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from resnet_kmeans.exceptions import FolderNotFoundError, NoImagesError

IMAGE_EXTENSIONS = (
    *(".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".ico", ".jfif", ".jp2", ".jpe"),
    *(".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".tga"),
    *(".tif", ".tiff", ".webp"),
)
EXPORT_JOURNAL = ".resnet-kmeans.jsonl"  # in the root of every folder that we wrote


def find_images(folder: str | os.PathLike[str], *, recursive: bool = True) -> list[Path]:
    """List the image files in a folder, in natural order (``img2`` before ``img10``).

    Files count by their extension, without regard to case (`IMAGE_EXTENSIONS`). Hidden
    files and folders (``.name``), folders that `export_clusters` wrote and links to
    folders are passed over; a folder that cannot be listed warns.

    Parameters
    ----------
    folder : str or path-like
        The folder to look in.
    recursive : bool, default=True
        Whether to look in subfolders too.

    Returns
    -------
    list of Path
        Paths that begin with `folder`; empty if it holds no image.

    Raises
    ------
    FolderNotFoundError
        If `folder` is not a folder.
    """
    if not os.path.isdir(folder):
        raise FolderNotFoundError(folder)
    found = sorted(_walk(os.fspath(folder), recursive), key=_natural_order)
    return [Path(path) for path in found]


def require_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Return what `find_images` finds, or raise `NoImagesError` where that is nothing."""
    paths = find_images(folder)
    if not paths:
        raise NoImagesError(folder, IMAGE_EXTENSIONS)
    return paths


def _walk(folder: str, recursive: bool) -> Iterator[str]:
    for root, folders, files in os.walk(folder, onerror=_warn_unlisted):
        if EXPORT_JOURNAL in files:
            folders.clear()
            continue
        folders[:] = [f for f in folders if recursive and not f.startswith(".")]
        for name in files:
            if name.lower().endswith(IMAGE_EXTENSIONS) and not name.startswith("."):
                yield os.path.join(root, name)


def _warn_unlisted(error: OSError) -> None:
    message = f"{error.filename!r} cannot be listed ({error.strerror}); passed over."
    warnings.warn(message, stacklevel=4)


def _natural_order(path: str) -> tuple[list[list[tuple[int, str]]], str]:
    parts = path.casefold().split(os.sep)
    runs = [re.findall(r"(\d+)|(\D+)", part) for part in parts]
    key = [[(int(n), "") if n else (-1, text) for n, text in run] for run in runs]
    return key, path

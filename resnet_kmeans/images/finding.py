"""Lists the image files of a folder."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from resnet_kmeans._folder_names import JOURNAL, SYSTEM_FILES
from resnet_kmeans.exceptions import FolderNotFoundError, NoImagesError, warn_caller

IMAGE_EXTENSIONS = (
    *(".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".ico", ".j2k", ".jfif", ".jp2"),
    *(".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png", ".pnm"),
    *(".ppm", ".psd", ".tga", ".tif", ".tiff", ".webp"),
    *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"),  # raw photos
)


def find_images(folder: str | os.PathLike[str], *, recursive: bool = True) -> list[Path]:
    """List the image files in a folder, in natural order (``img2`` before ``img10``).

    A file counts as an image if its extension is one of `IMAGE_EXTENSIONS`, in any case.
    Hidden files and folders (``.name``), links to folders, and exports within `folder` are
    skipped. A folder that cannot be listed is skipped too, with a warning.

    Parameters
    ----------
    folder : str or path-like
        The folder to look in.
    recursive : bool, default=True
        Whether to look in subfolders too.

    Returns
    -------
    list of Path
        Paths of the images, beginning with `folder`; empty if there are none.

    Raises
    ------
    FolderNotFoundError
        If `folder` is not a folder.

    Examples
    --------
    >>> from resnet_kmeans import find_images
    >>> find_images("photos")  # doctest: +SKIP
    [PosixPath('photos/img2.jpg'), PosixPath('photos/img10.jpg')]
    """
    if not os.path.isdir(folder):
        raise FolderNotFoundError(folder)
    unlisted: list[OSError] = []
    files = _walk(os.fspath(folder), recursive, unlisted)
    found = sorted(filter(is_image, files), key=natural_order)
    for error in unlisted:
        message = f"{error.filename!r} cannot be listed ({error.strerror}); it is skipped."
        warn_caller(UserWarning(message))
    return [Path(path) for path in found]


def is_image(name: str) -> bool:
    """Return whether a name or path has the extension of an image."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def require_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the images that `find_images` finds; raise `NoImagesError` if there are none."""
    paths = find_images(folder)
    if not paths:
        raise NoImagesError(folder, IMAGE_EXTENSIONS)
    return paths


def passed_over(folder: str | os.PathLike[str]) -> dict[str, int]:
    """Count the files of a folder that `find_images` passes over, by their extensions."""
    found: Counter[str] = Counter()
    for path in _walk(os.fspath(folder), True, []):
        if not is_image(path) and os.path.basename(path).lower() not in SYSTEM_FILES:
            found[os.path.splitext(path)[1].lower() or "no extension"] += 1
    return dict(found.most_common())


def _walk(folder: str, recursive: bool, unlisted: list[OSError]) -> Iterator[str]:
    """Yield the files of a folder, except hidden ones and those of exports."""
    for root, folders, files in os.walk(folder, onerror=unlisted.append):
        if JOURNAL in files and root != folder:
            folders.clear()
            continue
        folders[:] = [f for f in folders if recursive and not f.startswith(".")]
        yield from (os.path.join(root, name) for name in files if not name.startswith("."))


def natural_order(path: str) -> tuple[bytes, str]:
    """Return a key that sorts paths as `find_images` does."""
    # One string of bytes, because nested tuples would take 1 KB of memory per path. UTF-8 sorts
    # in the order of code points; numbers begin with the byte 1, so that they sort before text,
    # as in file managers. The byte 0, which no path contains, ends each run of text and each
    # part of the path, so that shorter ones sort first.
    key = bytearray()
    for part in path.casefold().split(os.sep):
        for number, text in re.findall(r"(\d+)|(\D+)", part):
            if number:
                digits = str(int(number)).encode()
                key += b"\1" + len(digits).to_bytes(2, "big") + digits
            else:
                key += text.encode(errors="surrogatepass") + b"\0"
        key += b"\0"
    return bytes(key), path

"""Splits the images that a user passes as `X` into single images with names."""

import os
from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np
from PIL import Image

from resnet_kmeans.exceptions import InvalidImagesError, NoImagesError, printable
from resnet_kmeans.images.arrays import how_to_convert, is_image_array
from resnet_kmeans.images.finding import require_images


def as_sources(X: Any) -> list[Any]:
    """Return X as a list of single images: paths, bytes, PIL images or arrays.

    Parameters
    ----------
    X : sequence of length n
        List, tuple, ndarray, pandas Series or one-column DataFrame. An ndarray of images has the
        shape (n, height, width, channels). One of three dimensions is refused, as it may be one
        image in color or several in gray.

    Raises
    ------
    InvalidImagesError
        If X is a single image or not a sequence, or if an item is of another type.
    NoImagesError
        If X is empty.
    """
    sources = _listed(X)
    are_letters = all(isinstance(source, str) and len(source) == 1 for source in sources)
    if are_letters and not any(map(os.path.isfile, sources)):
        # scikit-learn's cross-validation takes the name of a folder apart.
        raise InvalidImagesError(
            f"the letters {', '.join(map(repr, sources)):.40}, none of which is a file",
            "For a folder in cross-validation, pass find_images(folder).",
        )
    return sources


def images_of(X: Any) -> list[Any]:
    """Return the images of a folder, or the items of any other X, which a featurizer may know."""
    return list(require_images(X)) if isinstance(X, (str, os.PathLike)) else _listed(X)


def _listed(X: Any) -> list[Any]:
    is_single = isinstance(X, (str, bytes, os.PathLike, Image.Image))
    if not is_single and isinstance(X, (Set, Mapping, Iterator)):
        raise InvalidImagesError(f"a {type(X).__name__}", "Pass a list: list(images).")
    if is_single or not _has_length(X):
        raise InvalidImagesError(f"a single {type(X).__name__}: {X!r:.80}")
    values = X.to_numpy() if hasattr(X, "to_numpy") else X
    if len(values) == 0:
        raise NoImagesError("an empty sequence")
    sources = list(_items(values) if isinstance(values, np.ndarray) else values)
    for index, source in enumerate(sources):
        if not isinstance(source, (str, os.PathLike, bytes, Image.Image)):
            _check_array(source, index)
    return sources


def _has_length(X: Any) -> bool:
    # A zero-dimensional array has the method `__len__`, but calling it raises an error.
    return hasattr(X, "__len__") and getattr(X, "ndim", 1) > 0


def _items(values: np.ndarray) -> np.ndarray:
    """Return an array whose items are images, if it can be told which these are."""
    if values.dtype.kind in "OUS":  # paths, perhaps in a column
        return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim == 3:
        raise InvalidImagesError(
            f"{_described(values)}, which may be one image in color or several in gray",
            "Pass a list: [image] for one, list(images) for several.",
        )
    if values.ndim < 3:
        raise InvalidImagesError(f"{_described(values)}, which is at most one image")
    return values


def _described(array: np.ndarray) -> str:
    return f"an array of shape {array.shape}, dtype {array.dtype}"


def _check_array(source: Any, index: int) -> None:
    if not isinstance(source, np.ndarray):
        is_array_like = hasattr(source, "__array__") or isinstance(source, (list, tuple))
        advice = (
            "Pass arrays, as of numpy.asarray(image), or paths: [path]."
            if is_array_like
            else "Pass its path, or its content as bytes."
        )
        raise InvalidImagesError(f"a {type(source).__name__} at position {index}", advice)
    if not is_image_array(source):
        got = f"{_described(source)} at position {index}"
        raise InvalidImagesError(got, how_to_convert(source))


def source_name(source: Any, index: int) -> str:
    """Return the path of an image, or ``X[index]`` for an image in memory."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return f"X[{index}]"


def common_folder(images: list[Any]) -> str:
    """Return the folder that contains all images; empty for images in memory."""
    folders = {os.path.dirname(i) for i in images if isinstance(i, (str, os.PathLike))}
    try:
        return os.path.commonpath([os.path.abspath(folder) for folder in folders])
    except ValueError:  # no paths, or on several drives
        return ""


def short_name(image: Any, position: int, folder: str) -> str:
    """Return a printable path of an image relative to `folder`, or its position."""
    name = source_name(image, position)
    if folder and isinstance(image, (str, os.PathLike)):
        # An unreadable image was not exported, so it may lie outside the folder.
        prefix = os.path.join(folder, "")
        name = (name if name.startswith(prefix) else os.path.abspath(name)).removeprefix(prefix)
    return printable(name)

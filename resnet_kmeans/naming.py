"""Names images as a person reads them."""

from __future__ import annotations

import os
from typing import Any

from resnet_kmeans.exceptions import printable
from resnet_kmeans.sources import source_name


def common_folder(images: list[Any]) -> str:
    """Return the folder that all images lie in; empty for images in memory."""
    paths = [os.path.abspath(i) for i in images if isinstance(i, (str, os.PathLike))]
    try:
        return os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # no paths, or on several drives
        return ""


def short_name(image: Any, position: int, folder: str) -> str:
    """Return the path of an image from `folder` on, or its position, fit to be printed."""
    name = source_name(image, position)
    if folder and isinstance(image, (str, os.PathLike)):
        # An unreadable image may lie elsewhere: it was not exported with the others.
        name = os.path.abspath(name).removeprefix(os.path.join(folder, ""))
    return printable(name)

"""Makes thumbnails of images."""

import base64
import io
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import joblib
from PIL import Image, ImageOps

from resnet_kmeans.exceptions import DecodeError
from resnet_kmeans.images import open_upright, read_file

# Maximum width and height in pixels, tried in turn until the file is small enough. The first is
# enough for photos; random noise needs the third.
THUMBNAIL_SIZES = ((320, 224), (240, 168), (160, 112), (80, 56))
QUALITY = 72  # of the JPEG; below this, ringing at edges becomes visible
# Keeps a page of 1,000 thumbnails under 20 MB: base64 takes four bytes for three.
MAX_THUMBNAIL_BYTES = 14_000


class Thumbnail(NamedTuple):
    """A small JPEG as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


def make_thumbnails(images: Sequence[Any]) -> list[Thumbnail | None]:
    """Return a thumbnail of each image, or None for an unreadable image."""
    # Threads are enough, because Pillow releases the GIL. Its warnings about damaged metadata do
    # not matter for a thumbnail.
    with warnings.catch_warnings(), ThreadPoolExecutor(joblib.cpu_count()) as pool:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        return list(pool.map(make_thumbnail, images))


def make_thumbnail(image: Any) -> Thumbnail | None:
    """Return a thumbnail of at most `MAX_THUMBNAIL_BYTES`, or None for an unreadable image."""
    try:
        picture = _open(image, THUMBNAIL_SIZES[0])
        picture.info.clear()  # a page that is sent to somebody tells nothing but the picture
    except DecodeError:
        return None
    for size in THUMBNAIL_SIZES:
        picture.thumbnail(size, Image.Resampling.BICUBIC)
        jpeg = io.BytesIO()
        picture.save(jpeg, "JPEG", quality=QUALITY, optimize=True)
        if jpeg.tell() <= MAX_THUMBNAIL_BYTES:
            break
    text = base64.b64encode(jpeg.getvalue()).decode("ascii")
    return Thumbnail(f"data:image/jpeg;base64,{text}", *picture.size)


def make_tile(image: Any, side: int) -> Image.Image:
    """Return the center of an image as a square of `side` pixels, gray if it is unreadable."""
    size = (side, side)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # about damaged metadata
            return ImageOps.fit(_open(image, size), size)
    except DecodeError:  # deleted since the fit, for example
        return Image.new("RGB", size, "lightgrey")


def _open(image: Any, size: tuple[int, int]) -> Image.Image:
    data = read_file(image) if isinstance(image, (str, os.PathLike)) else image
    return open_upright(data, size)

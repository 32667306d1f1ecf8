"""Makes thumbnails of images."""

import base64
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

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
# Tells thumbnails that are kept from those that another version made.
KIND = f"thumbnails of {THUMBNAIL_SIZES}, quality {QUALITY}, {MAX_THUMBNAIL_BYTES} bytes"


def make_thumbnails(images: Sequence[Any]) -> list[str | None]:
    """Return a thumbnail of each image as a data URI, or None for an unreadable image."""
    # Threads are enough, because Pillow releases the GIL.
    with without_warnings(), ThreadPoolExecutor(joblib.cpu_count()) as pool:
        return list(pool.map(_data_uri, images))


def _data_uri(image: Any) -> str | None:
    encoded = base64.b64encode(make_thumbnail(image) or b"").decode("ascii")
    return f"data:image/jpeg;base64,{encoded}" if encoded else None


def make_thumbnail(
    image: Any,
    sizes: Sequence[tuple[int, int]] = THUMBNAIL_SIZES,
    max_bytes: float = MAX_THUMBNAIL_BYTES,
) -> bytes | None:
    """Return a JPEG of the first of the sizes that is small enough; None if it is unreadable."""
    try:
        picture = _open(image, sizes[0])
    except DecodeError:
        return None
    picture.info.clear()  # a page that is sent to somebody tells nothing but the picture
    for size in sizes:
        picture.thumbnail(size, Image.Resampling.BICUBIC)
        jpeg = io.BytesIO()
        picture.save(jpeg, "JPEG", quality=QUALITY, optimize=True)
        if jpeg.tell() <= max_bytes:
            break
    return jpeg.getvalue()


def make_tile(image: Any, side: int) -> Image.Image:
    """Return the center of an image as a square of `side` pixels, gray if it is unreadable."""
    size = (side, side)
    try:
        with without_warnings():
            return ImageOps.fit(_open(image, size), size)
    except DecodeError:  # deleted since the fit, for example
        return Image.new("RGB", size, "lightgrey")


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore Pillow's warnings about damaged metadata, in all threads."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _open(image: Any, size: tuple[int, int]) -> Image.Image:
    data = read_file(image) if isinstance(image, (str, os.PathLike)) else image
    return open_upright(data, size)

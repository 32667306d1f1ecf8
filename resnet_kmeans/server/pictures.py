"""Reads the pictures that a page asks for, and keeps their thumbnails."""

import hashlib
import io
import math
import os
import threading
from contextlib import suppress
from pathlib import Path

import joblib
import numpy as np
from PIL import Image

from resnet_kmeans.exceptions import DecodeError
from resnet_kmeans.features import FeatureCache, file_state, row_key
from resnet_kmeans.images import read_file
from resnet_kmeans.report import KIND, make_thumbnail

# The formats that all browsers show. SVG, which may contain scripts, is not one of them.
SHOWN = {
    **{name: f"image/{name.lower()}" for name in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF")},
    "MPO": "image/jpeg",  # of phones: a JPEG with more behind it
}
LARGE = (2048, 2048)  # pixels, of an original in a format that browsers do not show


class Pictures:
    """The thumbnails and originals of files.

    Thumbnails are kept in the feature cache, by the content of the file. A row of the cache is
    an array of float32; here it is the bytes of a JPEG, whose decoders ignore the zeros at its
    end.
    """

    def __init__(self) -> None:
        self._cache = FeatureCache()
        self._key = row_key(KIND, "")
        # More at once would take memory, and no less time.
        self._at_once = threading.BoundedSemaphore(joblib.cpu_count())

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(self, *exception: object) -> None:
        self._cache.__exit__()

    def thumbnail(self, path: Path) -> tuple[bytes, str]:
        """Return a thumbnail of a file, with its media type.

        Raises
        ------
        DecodeError
            If the file is missing or unreadable.
        """
        try:
            state, is_settled = file_state(path)
        except OSError as error:
            raise DecodeError(f"cannot be read: {error.strerror}") from None
        digest = self._cache.find_digest(path, state) if is_settled else None
        row = None if digest is None else self._cache.find_row(self._key, digest)
        jpeg = self._make(path, state if is_settled else "") if row is None else row.tobytes()
        return jpeg, SHOWN["JPEG"]

    def _make(self, path: Path, state: str) -> bytes:
        with self._at_once:
            content = read_file(path)
            jpeg = make_thumbnail(content)
        if jpeg is None:
            raise DecodeError("not an image")
        digest = hashlib.blake2b(content, digest_size=16).digest()
        padded = jpeg + bytes(-len(jpeg) % 4)
        self._cache.add_rows(self._key, [(digest, np.frombuffer(padded, "<f4"))])
        if state:
            self._cache.add_files([(os.fspath(path), state, digest)])
        return jpeg

    def original(self, path: Path) -> tuple[bytes, str]:
        """Return a picture in full size, with its media type: the file, or a JPEG of it.

        What the file contains decides, not its name.

        Raises
        ------
        DecodeError
            If the file is missing or unreadable.
        """
        with self._at_once:
            content = read_file(path)
            with suppress(OSError, ValueError, SyntaxError):  # it is not an image
                kind = SHOWN.get(Image.open(io.BytesIO(content)).format or "")
                if kind is not None:
                    return content, kind
            jpeg = make_thumbnail(content, [LARGE], math.inf)
        if jpeg is None:
            raise DecodeError("not an image")
        return jpeg, SHOWN["JPEG"]

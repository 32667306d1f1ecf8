"""Decodes one image to upright RGB pixels of one size."""

import os
import stat
import struct
import threading
from contextlib import nullcontext
from functools import cache
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from resnet_kmeans.exceptions import DecodeError
from resnet_kmeans.images.arrays import image_of
from resnet_kmeans.images.misread import WHITE, corrected, open_image
from resnet_kmeans.images.readers import to_8bit

# Only these are accepted. Pillow reads more formats, but some run programs (EPS runs
# Ghostscript), and others are not photos (PDF, fonts, video).
FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG"),
    *("PPM", "PSD", "TGA", "TIFF", "WEBP"),
)
# A JPEG may be decoded at a reduced size, a "draft", if that is larger than the requested size
# by this factor. The features of 26 photos then had a cosine of at least 0.999 to those of full
# decoding; with a factor of 1, it was only 0.961. A 12-megapixel photo is still decoded at an
# eighth of its size for 224x224.
DRAFT_FACTOR = 1.5
MAX_FILE_BYTES = 2**30  # 1 GiB; a file is read only once, so that its hash and pixels agree
LARGE_PIXELS = 2**25  # images above 33 megapixels are decoded one at a time to bound memory
# A JPEG without its end is read if at least this share of its rows is there.
LEAST_ROWS = 0.5
MISSING = "resnet_kmeans_missing"  # key in the `info` of a PIL image
_END_OF_JPEG = b"\xff\xd9"
_END_BYTES = 2**16  # in which the end of a JPEG is looked for, as cameras write more after it
_NOISE = bytes(range(16, 80))
_BLOCK_ROWS = 8  # of a JPEG; twice as many if its colors have fewer pixels
# The mean color of ImageNet, which equals zero padding after preprocessing.
PAD_COLOR = (124, 116, 104)

# Exceptions that Pillow's decoders raised on damaged files when they were fuzzed.
_BROKEN = (
    *(OSError, ValueError, EOFError, SyntaxError, Image.DecompressionBombError),
    *(TypeError, LookupError, ArithmeticError, AttributeError, NotImplementedError),
    *(MemoryError, RuntimeError, AssertionError, struct.error),
)
_REDUCIBLE = ("L", "LA", "RGB", "RGBA", "CMYK")  # modes whose pixels can be averaged
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_one_at_a_time = threading.Lock()
# The transposition that undoes each EXIF orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a regular file; raise `DecodeError` if it cannot be read."""

    def open_without_waiting(name: str, flags: int) -> int:
        # Without O_NONBLOCK, opening a FIFO waits forever for a writer.
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DecodeError("not a regular file")
            if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                raise DecodeError("the file is larger than 1 GiB")
            data = file.read()
    except DecodeError:
        raise
    except FileNotFoundError:
        raise DecodeError("no such file (a broken link, or deleted meanwhile)") from None
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DecodeError(f"cannot be read: {reason}") from None
    return data


def decode(
    source: bytes | Image.Image | np.ndarray, input_shape: tuple[int, int], resize: str = "stretch"
) -> np.ndarray:
    """Decode one image to upright RGB pixels of a given size.

    The EXIF orientation is applied. Grayscale, palette, CMYK, 16-bit and float images become
    RGB, as `to_8bit` does, transparent pixels are blended with white, and only the first frame of
    an animation is used. Resizing is bilinear with antialiasing. Color profiles are not applied.
    Of a JPEG photo whose end is missing, the rows that are there are used, if they are most.

    Parameters
    ----------
    source : bytes, PIL image or array
        The content of an image file, or an image in memory, which is not changed; an array of a
        kind that `arrays.is_image_array` takes.
    input_shape : tuple of int
        Height and width of the result, in pixels.
    resize : {"stretch", "crop", "pad"}, default="stretch"
        ``"stretch"`` changes the proportions, ``"crop"`` keeps the center of the longer side,
        ``"pad"`` extends the shorter side with the mean color of ImageNet.

    Returns
    -------
    ndarray of shape (height, width, 3), dtype uint8
        Values from 0 to 255.

    Raises
    ------
    DecodeError
        If the image cannot be read; the message is the reason.
    """
    return decode_noting(source, input_shape, resize)[0]


def reason_unreadable(source: Any) -> str | None:
    """Return the reason why an image or file cannot be decoded, or None if it can."""
    try:
        data = read_file(source) if isinstance(source, (str, os.PathLike)) else source
        open_upright(data, (64, 64))
    except DecodeError as error:
        return str(error)
    return None


def decode_noting(
    source: Any, input_shape: tuple[int, int], resize: str = "stretch"
) -> tuple[np.ndarray, str]:
    """Decode an image as `decode` does; also return what is missing in it, usually ''."""
    height, width = input_shape
    draft_size = int(width * DRAFT_FACTOR), int(height * DRAFT_FACTOR)
    with open_upright(source, draft_size) as image:
        return np.asarray(_fit(image, (width, height), resize)), image.info.get(MISSING, "")


def open_upright(source: Any, draft_size: tuple[int, int]) -> Image.Image:
    """Return an image as upright RGB, decoded no smaller than `draft_size`."""
    try:
        if isinstance(source, np.ndarray):
            return _to_rgb(image_of(source))
        image = source if isinstance(source, Image.Image) else open_image(source, _known_formats())
        # A PIL image may still have to read its file, which threads cannot do at the same time.
        is_large = image.width * image.height > LARGE_PIXELS
        with _one_at_a_time if image is source or is_large else nullcontext():
            if image is source:
                return _load(image.copy(), draft_size)
            return _load_file(corrected(image, source), source, draft_size)
    except UnidentifiedImageError:
        raise DecodeError(_why_unidentified(source)) from None
    except Image.DecompressionBombError as error:
        raise DecodeError(f"too many pixels to decode safely: {error}") from None
    except DecodeError:
        raise
    except _BROKEN as error:
        raise DecodeError(_why_broken(source, error)) from None


def _load_file(image: Image.Image, data: bytes, draft_size: tuple[int, int]) -> Image.Image:
    is_jpeg = image.format in ("JPEG", "MPO")
    # If the user makes Pillow fill in what is missing, it raises no error.
    is_cut = ImageFile.LOAD_TRUNCATED_IMAGES and _END_OF_JPEG not in data[-_END_BYTES:]
    if not (is_jpeg and is_cut):
        try:
            return _load(image, draft_size)
        except OSError:
            if not is_jpeg:
                raise
    # With the marker of the end, libjpeg fills in what is missing before it.
    completed = open_image(data + _END_OF_JPEG, _known_formats())
    return _load(completed, draft_size, data)


def _load(image: Image.Image, draft_size: tuple[int, int], damaged: bytes = b"") -> Image.Image:
    """Load an image; `damaged` is the content of a photo that lacks its end."""
    if not image.width or not image.height:
        raise ValueError(f"it has no pixels: its size is {image.width} x {image.height}")
    # libjpeg can decode at a half, a quarter or an eighth of the size, which saves most of the
    # work on a large photo. A square, because the image may be rotated afterwards.
    if not damaged:  # a reduced decoding of damaged data may have other colors
        image.draft("RGB", (max(draft_size), max(draft_size)))
    image.load()
    turn = _turn(image)
    if damaged:
        image = _without_missing_rows(image, damaged)
    factor = min(image.width // max(draft_size), image.height // max(draft_size))
    if factor > 1 and image.width * image.height > LARGE_PIXELS:
        image = (image if image.mode in _REDUCIBLE else _to_rgb(image)).reduce(factor)
    return _to_rgb(image if turn is None else image.transpose(turn))


def _without_missing_rows(image: Image.Image, data: bytes) -> Image.Image:
    """Crop the rows at the bottom of a JPEG that libjpeg filled in, as its end is missing."""
    pixels = np.asarray(image).reshape(image.height, -1)

    def first_changed(data: bytes) -> int | None:
        """Return the first row that becomes another if noise follows the data."""
        try:
            other = np.asarray(open_image(data + _NOISE + _END_OF_JPEG, _known_formats()))
        except OSError:
            return None
        changed = (pixels != other.reshape(image.height, -1)).any(axis=1)
        return int(changed.argmax()) if changed.any() else None

    is_one_pass = "progressive" not in image.info
    if is_one_pass and (row := first_changed(data)) is not None:
        # The row before may change too, as colors of fewer pixels are blended.
        n_rows = round(row / _BLOCK_ROWS) * _BLOCK_ROWS
    elif is_one_pass and first_changed(data[: -len(_NOISE)]) is not None:
        n_rows = image.height  # the data are whole but for the marker
    else:
        # In one of several passes over all rows, or damaged before the end of the data. libjpeg
        # fills in medium gray, block by block.
        is_there = (pixels.min(axis=1) < 127) | (pixels.max(axis=1) > 129)
        n_rows = int(np.flatnonzero(is_there).max(initial=-1)) + 1
        if n_rows < image.height:  # the last row of blocks may be there in part
            n_rows = max(0, n_rows - 2 * _BLOCK_ROWS)
    share = n_rows / image.height
    if share < LEAST_ROWS:
        raise DecodeError(f"its end is missing: only {share:.0%} of its rows are there")
    cropped = image.crop((0, 0, image.width, n_rows))
    used = "all" if share == 1 else f"{share:.0%}"
    cropped.info[MISSING] = f"its end is missing; {used} of its rows are used"
    return cropped


@cache
def _known_formats() -> tuple[str, ...]:
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except ImportError:  # without the `heif` extra, HEIC files are reported as unreadable
        pass
    Image.init()
    return tuple(f for f in FORMATS if f in Image.OPEN)


def _why_broken(source: Any, error: Exception) -> str:
    is_unread = isinstance(source, ImageFile.ImageFile) and source.tile and source.fp is None
    if is_unread or "closed image" in str(error):
        return "a PIL image that was closed before it was read: call its method load() before"
    # Pillow's errors do not tell damage from what it does not support.
    return f"Pillow cannot decode it: {str(error).strip() or 'damaged or cut short'}"


def _why_unidentified(data: Any) -> str:
    if data == b"":
        return "the file is empty"
    is_heif = isinstance(data, bytes) and data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS
    if is_heif and "HEIF" not in _known_formats():
        return "HEIC needs the heif extra: pip install 'resnet-kmeans[heif]'"
    return "not an image, or in a format that Pillow cannot read"


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the transposition that sets an image upright according to its EXIF data."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except _BROKEN:  # the pixels are still usable if the metadata is damaged
        return None
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _fit(image: Image.Image, size: tuple[int, int], resize: str) -> Image.Image:
    if resize == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    if resize == "pad":
        scale = min(size[0] / image.width, size[1] / image.height)
        inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        canvas = Image.new("RGB", size, PAD_COLOR)
        corner = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
        canvas.paste(image.resize(inner, Image.Resampling.BILINEAR), corner)
        return canvas
    return image.resize(size, Image.Resampling.BILINEAR)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode as RGB, with transparent parts in white."""
    # Pillow clips wide gray values at 255, so that most 16-bit images would turn white.
    if image.mode.startswith(("I", "F")):
        image = _gray_to_8bit(image)
    if image.has_transparency_data:
        # Pillow converts premultiplied gray ("La") only to "LA".
        image = image.convert("LA") if image.mode == "La" else image
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _gray_to_8bit(image: Image.Image) -> Image.Image:
    """Scale wide gray values to the range 0 to 255."""
    values = np.asarray(image)
    pixels = to_8bit(values, image.info.get(WHITE))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        pixels[values == clear] = 255
    return Image.fromarray(pixels)

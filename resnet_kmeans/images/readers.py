"""Reads images with libraries of the formats extra, as Pillow's images."""

import io
import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from resnet_kmeans.exceptions import DecodeError

PREVIEW_SIDE = 256  # pixels; the preview of a raw photo is used if its longer side has as many
MAX_BYTES = 2**30  # of the values of an image before they are scaled to 8 bits
BLOCK_ROWS = 256  # rows of an image that are scaled at a time
NODATA = 42113  # the tag of GDAL for the value of pixels that are missing
# Both log what they find wrong; without a handler, Python would print that to stderr.
for _name in ("tifffile", "PIL"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_WHITE_IS_ZERO, _PALETTE, _CMYK, _YCC = 0, 3, 5, 6  # of a TIFF file's PhotometricInterpretation
_KNOWN_COLORS = (_WHITE_IS_ZERO, 1, 2, _PALETTE, _CMYK)
_SYCC = 18  # of a JPEG 2000 file's enumerated color spaces
_PREMULTIPLIED = 1  # of its ExtraSamples
_LARGEST_VALUES = (Base.MaxSampleValue, Base.SMaxSampleValue)  # tags
_SENSOR, _LOSSLESS = 32803, (1, 7)  # PhotometricInterpretation and Compression of a DNG file
_UPRIGHT = {0: 1, 3: 3, 5: 8, 6: 6}  # EXIF's orientation for each of LibRaw's


class MissingReaderError(DecodeError):
    """A package of the formats extra is not installed."""


def to_8bit(values: np.ndarray, white: int | None = None) -> np.ndarray:
    """Scale values from black to white to the range 0 to 255.

    Cameras and microscopes store 10 to 14 bits in 16, so white is `white` or, if there are brighter
    values or it is None, the largest number of as many bits as the brightest value has, at least 8.
    White is also 1 if float values reach from 0.5 to 1 at most. Otherwise the white of float
    values, of integers beyond 16 bits and of those with negative values is unknown: the range of
    the image is stretched instead.

    Parameters
    ----------
    values : ndarray of any shape
        Gray or color values, of integers, bools or floats. NaN becomes black.
    white : int, default=None
        What the file says of the value of white.

    Returns
    -------
    ndarray of the same shape, dtype uint8

    Raises
    ------
    DecodeError
        If all values are NaN or infinite.
    """
    if values.dtype == bool:
        return values * np.uint8(255)
    return _scaled(values, *_range(values, white))


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale values from `low` to `high` to the range 0 to 255; NaN becomes 0."""
    pixels = np.empty(values.shape, np.uint8)
    is_wide = values.dtype.kind == "f" or values.dtype.itemsize > 2
    for start in range(0, len(values), BLOCK_ROWS):  # all at once would take 12 bytes a value
        rows = slice(start, start + BLOCK_ROWS)
        block: np.ndarray = values[rows].astype(np.float64 if is_wide else np.float32)
        block = (block - low) * (255 / ((high - low) or 1))
        pixels[rows] = np.rint(np.nan_to_num(np.clip(block, 0, 255), copy=False))
    return pixels


def _range(values: np.ndarray, white: int | None) -> tuple[float, float]:
    """Return the values of black and white."""
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        low = float(values.min(where=finite, initial=np.inf))
        high = float(values.max(where=finite, initial=-np.inf))
        is_usual = low >= 0 and 0.5 < high <= 1
        if low > high:
            raise DecodeError("none of its values is a number")
        return (0.0, 1.0) if is_usual else (low, high)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high >= 2**16:
        return low, high
    brightest = min(2 ** max(8, int(high).bit_length()) - 1, np.iinfo(values.dtype).max)
    return 0.0, float(white if white and white >= high else brightest)


def _with_alpha(values: np.ndarray, n_colors: int, white: int | None = None) -> np.ndarray:
    """Scale the colors of shape (height, width, n_colors), and the transparency after them."""
    colors, alpha = values[..., :n_colors], values[..., n_colors:]
    if not alpha.size or values.dtype == bool:
        return to_8bit(values, white)
    opaque = 1.0
    if values.dtype.kind != "f":
        # Usually it has as many bits as the colors, but it may use all 16 with colors of 12.
        opaque = _range(colors, white)[1] if colors.any() else 0.0
        if alpha.max() > opaque:
            opaque = float(np.iinfo(values.dtype).max)
    return np.concatenate([to_8bit(colors, white), _scaled(alpha, 0, opaque)], axis=2)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise MissingReaderError(name) from None


def _check_size(n_pixels: int, n_bytes: int = 0) -> None:
    """Raise the error of Pillow for an image that is too large."""
    if n_pixels > 2 * (Image.MAX_IMAGE_PIXELS or np.inf) or n_bytes > MAX_BYTES:
        raise Image.DecompressionBombError(f"{n_pixels} pixels, {n_bytes} bytes")


def _as_image(values: np.ndarray, mode: str | None = None) -> Image.Image:
    """Return an array of shape (height, width, channels), dtype uint8, as an image."""
    height, width, n_channels = values.shape
    mode = mode or _MODES[n_channels]
    return Image.frombytes(mode, (width, height), np.ascontiguousarray(values).tobytes())


def read_tiff(data: bytes) -> Image.Image:
    """Read the first page of a TIFF file with tifffile."""
    tifffile = _library("tifffile")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        tags = _page_tags(page)
        if is_raw_photo(tags):
            return read_raw_photo(data)
        if page.is_reduced:  # another page is the picture
            page = max(page.pages or file.pages, key=lambda p: p.imagewidth * p.imagelength)
            tags = {Base.Orientation: tags.get(Base.Orientation, 1), **_page_tags(page)}
        _check_size(page.imagewidth * page.imagelength, page.nbytes)
        photometric = int(page.photometric)
        if (photometric, int(page.compression)) == (_YCC, 7):  # JPEG, which is decoded to RGB
            photometric = 2
        # tifffile misreads 24 bits with the highest byte first.
        is_odd = page.bitspersample == 24 or (photometric == _CMYK and page.sampleformat != 1)
        if photometric not in _KNOWN_COLORS or page.imagedepth != 1 or is_odd:
            name = f"{getattr(page.photometric, 'name', photometric)}, {page.bitspersample} bits"
            raise DecodeError(f"a TIFF file of a kind that is not supported ({name})")
        n_bits = page.imagewidth * page.imagelength * page.samplesperpixel * page.bitspersample
        is_short = page.compression == 1 and 8 * sum(page.databytecounts) < n_bits
        if is_short or 0 in page.databytecounts:  # tifffile would fill them with zeros
            raise DecodeError("TIFF of which some values are missing")
        try:
            values = page.asarray()
        except ImportError:  # its compression needs imagecodecs
            _library("imagecodecs")
            raise
        image = _tiff_image(page, photometric, tags, _channels_last(page, values))
        image.getexif()[Base.Orientation] = tags.get(Base.Orientation, 1)
        return image


def _page_tags(page: Any) -> dict[int, Any]:
    return {tag.code: tag.value for tag in page.tags}


def _channels_last(page: Any, values: np.ndarray) -> np.ndarray:
    is_planar = page.samplesperpixel > 1 and int(page.planarconfig) == 2
    values = values.reshape(
        (page.samplesperpixel, page.imagelength, page.imagewidth)
        if is_planar
        else (page.imagelength, page.imagewidth, page.samplesperpixel)
    )
    return np.moveaxis(values, 0, -1) if is_planar else values


def _tiff_image(
    page: Any, photometric: int, tags: Mapping[int, Any], values: np.ndarray
) -> Image.Image:
    n_colors = {2: 3, _CMYK: 4}.get(photometric, 1)
    extras = [int(extra) for extra in page.extrasamples]
    has_alpha = values.shape[2] > n_colors and extras[:1] not in ([], [0])
    if photometric == _PALETTE:
        colors = np.asarray(page.colormap).T  # shape (n, 3), values 0 to 65535, or 0 to 255
        table = to_8bit(colors, 65535 if colors.max() > 255 else 255)
        return _as_image(table[values[..., 0].astype(np.intp)])
    with suppress(KeyError, ValueError):  # without the tag, or without a number in it
        missing = values == float(str(tags[NODATA]).strip("\0 "))
        is_stretched = values.dtype.kind != "u" or values.dtype.itemsize > 2
        values = np.where(missing, np.nan if is_stretched else 0, values)
    white = tiff_white(page.bitspersample, tags)
    pixels = _with_alpha(values[..., : n_colors + has_alpha], n_colors, white)
    if photometric == _WHITE_IS_ZERO:
        pixels[..., 0] = 255 - pixels[..., 0]
    if n_colors == 4:
        image = _as_image(pixels[..., :4], "CMYK").convert("RGB")
        if has_alpha:
            image.putalpha(_as_image(pixels[..., 4:]))
        return image
    mode = _MODES[n_colors + has_alpha]
    if has_alpha and extras[0] == _PREMULTIPLIED:
        mode = mode.replace("A", "a")
    return _as_image(pixels, mode)


def is_raw_photo(tags: Mapping[int, Any]) -> bool:
    """Return whether the first page of a TIFF file is that of a raw photo."""
    is_small = bool(tags.get(Base.NewSubfileType, 0) & 1)
    is_of_camera = is_small and Base.SubIFDs in tags and Base.Make in tags
    return Base.DNGVersion in tags or is_of_camera


def tiff_white(bits: int, tags: Mapping[int, Any]) -> int | None:
    """Return the value of white that the tags of a TIFF file say."""
    if bits < 16 and bits != 8:
        return int(2**bits - 1)
    said = next((tags[tag] for tag in _LARGEST_VALUES if tag in tags), None)
    # Many writers put the largest number of 16 bits there, whatever the values.
    return int(np.max(said)) if said is not None and np.max(said) < 2**16 - 1 else None


def png_white(data: bytes) -> int | None:
    """Return the value of white that the chunk sBIT of a PNG file says."""
    found = re.search(rb"\0\0\0[\1-\4]sBIT([\1-\x10])", data[: data.find(b"IDAT")])
    return 2 ** found[1][0] - 1 if found else None


def read_png(data: bytes) -> Image.Image:
    """Read the 16 bits of a PNG file's colors with imagecodecs."""
    values = _library("imagecodecs").png_decode(data)
    n_colors = values.shape[2] - (values.shape[2] % 2 == 0)
    return _as_image(_with_alpha(values, n_colors, png_white(data)))


def read_jpeg2000(data: bytes) -> Image.Image:
    """Read a JPEG 2000 file with imagecodecs."""
    channels = jpeg2000_channels(data)
    colors = data.find(b"colr\1\0\0\0\0\0", 0, data.find(b"jp2c"))
    is_ycc = colors >= 0 and data[colors + 10] == _SYCC
    if is_ycc or any(channel[1:] != (1, 1) for channel in channels):
        raise DecodeError("JPEG2000 in YCC, or with channels of different sizes: not supported")
    values = np.atleast_3d(_library("imagecodecs").jpeg2k_decode(data))
    n_colors = 3 if len(channels) > 2 else 1
    return _as_image(_with_alpha(values[..., :4], n_colors, tiff_white(channels[0][0], {})))


def jpeg2000_channels(data: bytes) -> list[tuple[int, int, int]]:
    """Return the bits of each channel of a JPEG 2000 file, and its steps in both directions."""
    # The codestream begins with the markers SOC and SIZ; SIZ has three bytes a channel from
    # byte 42 on: the bits less one, whose highest bit is the sign, and the steps.
    start = data.find(b"\xff\x4f\xff\x51") + 42
    end = start + 3 * int.from_bytes(data[start - 2 : start], "big")
    return [
        (bits % 128 + 1, x, y) for bits, x, y in zip(*(data[start + i : end : 3] for i in range(3)))
    ]


def read_raw_photo(data: bytes) -> Image.Image:
    """Open the preview that a camera stored in a raw photo, or develop a photo without a large one.

    Developing takes about a second for 9 megapixels.
    """
    rawpy = _library("rawpy")
    with rawpy.imread(io.BytesIO(data)) as raw:
        _check_size(raw.sizes.raw_width * raw.sizes.raw_height)
        with suppress(rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
            preview = raw.extract_thumb().data
            image: Image.Image
            if isinstance(preview, bytes):
                image = Image.open(io.BytesIO(preview), formats=("JPEG",))
            else:
                image = Image.fromarray(preview)
            image.getexif().setdefault(Base.Orientation, _UPRIGHT.get(raw.sizes.flip, 1))
            if max(image.size) >= PREVIEW_SIDE:
                return image
        if _lacks_values(data):
            raise DecodeError("a raw photo of which some values are missing")
        developed = raw.postprocess(half_size=True, use_camera_wb=True)
    if (developed == developed[0, 0]).all():  # of other kinds, LibRaw fills in what is missing
        raise DecodeError("a raw photo without a picture")
    image = Image.fromarray(developed)
    image.getexif()[Base.Orientation] = 1  # LibRaw turned it
    return image


def _lacks_values(data: bytes) -> bool:
    """Return whether values are missing in a raw photo of the kind that begins like a TIFF file."""
    # LibRaw would not tell, and develop what was in memory before.
    tifffile = _library("tifffile")
    with suppress(tifffile.TiffFileError), tifffile.TiffFile(io.BytesIO(data)) as file:
        first = file.pages[0]
        pages = [first, *(first.pages or ())]
        ends = [sum(ends) for page in pages for ends in zip(page.dataoffsets, page.databytecounts)]
        return max(ends, default=0) > len(data) or any(map(_is_too_short, pages))
    return False


def _is_too_short(page: Any) -> bool:
    # Compressed without loss, a value of the sensor takes a bit at least.
    is_sensor = int(page.photometric) == _SENSOR and int(page.compression) in _LOSSLESS
    return is_sensor and 8 * sum(page.databytecounts) < page.imagewidth * page.imagelength

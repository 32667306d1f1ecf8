"""Opens image files, with Pillow or, where it would read them wrongly, by other means."""

import io
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from resnet_kmeans.exceptions import DecodeError
from resnet_kmeans.images.photoshop import read_photoshop
from resnet_kmeans.images.readers import (
    NODATA,
    MissingReaderError,
    is_raw_photo,
    jpeg2000_channels,
    png_white,
    read_jpeg2000,
    read_png,
    read_raw_photo,
    read_tiff,
    tiff_white,
    to_8bit,
)

WHITE = "resnet_kmeans_white"  # key in the `info` of an image: what the file says of white
_TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Of Fujifilm, Olympus, Panasonic and Canon; those of other cameras begin like TIFF files.
_RAW_BEGINNINGS = (
    *(b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0"),
    b"\0\0\0\x18ftypcrx ",
)


class _Misread(NamedTuple):
    """Files that Pillow reads wrongly, and the function that reads them instead."""

    format: str
    what: str
    are_these: Callable[[Image.Image, bytes], bool]
    read: Callable[[bytes], Image.Image]


class _Tags(NamedTuple):
    """What the tags of a TIFF file say about its values."""

    bits: int
    n_samples: int
    extra: tuple[int, ...]
    is_planar: bool
    photometric: int
    sample_format: int
    is_compressed: bool
    is_big_endian: bool
    chroma: tuple[int, ...]
    is_small: bool
    has_nodata: bool


def _tags(image: Image.Image) -> _Tags:
    tags = image.tag_v2  # type: ignore[attr-defined]
    return _Tags(
        bits=tags.get(Base.BitsPerSample, (1,))[0],
        n_samples=tags.get(Base.SamplesPerPixel, 1),
        extra=tuple(tags.get(Base.ExtraSamples, ())),
        is_planar=tags.get(Base.PlanarConfiguration) == 2,
        photometric=tags.get(Base.PhotometricInterpretation, 1),
        sample_format=tags.get(Base.SampleFormat, (1,))[0],
        is_compressed=tags.get(Base.Compression, 1) != 1,
        is_big_endian=tags.prefix == b"MM",
        chroma=tuple(tags.get(Base.YCbCrSubSampling, (2, 2))),
        is_small=bool(tags.get(Base.NewSubfileType, 0) & 1),
        has_nodata=NODATA in tags,
    )


def _tiff(
    what: str,
    are_these: Callable[[_Tags], bool],
    read: Callable[[bytes], Image.Image] = read_tiff,
) -> _Misread:
    return _Misread("TIFF", what, lambda image, _: are_these(_tags(image)), read)


def _is_raw_photo(image: Image.Image, data: bytes) -> bool:
    return data[8:10] == b"CR" or is_raw_photo(image.tag_v2)  # type: ignore[attr-defined]


def _refuse_chroma(data: bytes) -> Image.Image:
    raise DecodeError("TIFF whose colors have fewer pixels, not compressed: not supported")


def _has_byte_palette(image: Image.Image, data: bytes) -> bool:
    colors = image.tag_v2.get(Base.ColorMap)  # type: ignore[attr-defined]
    return image.mode == "P" and colors is not None and max(colors) < 256


def _has_other_channels(image: Image.Image, data: bytes) -> bool:
    channels = jpeg2000_channels(data)
    return any(channel != (8, 1, 1) for channel in channels) and channels != [(16, 1, 1)]


def _has_other_order(image: Image.Image, data: bytes) -> bool:
    """Return whether the channel-definition box of a JPEG 2000 file changes the usual order."""
    start = data.find(b"cdef", 0, data.find(b"jp2c")) + 4
    if start < 4:
        return False
    n_channels = int.from_bytes(data[start : start + 2], "big")
    # A channel, its type (0 is a color) and the color, from 1 on.
    defined = [struct.unpack_from(">HHH", data, start + 2 + 6 * i) for i in range(n_channels)]
    return any(kind == 0 and color != channel + 1 for channel, kind, color in defined)


def _tile(image: Image.Image) -> Any:
    """Return what Pillow knows of the values of a PPM file: where they are, and their white."""
    return image.tile[0]  # type: ignore[attr-defined]


def _are_dark_colors(image: Image.Image, data: bytes) -> bool:
    """Return whether colors of 16 bits are so dark that the upper 8 bits do not do."""
    if image.format == "PPM":
        tile = _tile(image)
        depth = 16 if tile.codec_name == "ppm" and tile.args == ("RGB", 65535) else 8
    else:
        depth = data[24] if image.format == "PNG" else _tags(image).bits
    if depth != 16 or image.mode not in ("LA", "RGB", "RGBA"):
        return False
    return bool(np.asarray(image)[..., : 1 if image.mode == "LA" else 3].max() < 128)


def _read_deep_ppm(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("PPM",))
    shape = image.height, image.width, 3
    values = np.frombuffer(data, ">u2", int(np.prod(shape)), _tile(image).offset)
    return Image.fromarray(to_8bit(values.reshape(shape)))


def _has_unscaled_clear(image: Image.Image, data: bytes) -> bool:
    """Return whether Pillow scaled the values of a PNG file, but not the one that is clear."""
    is_scaled = (image.mode, data[24]) in (("L", 2), ("L", 4), ("RGB", 16))
    return is_scaled and "transparency" in image.info


def _read_scaling_clear(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("PNG",))
    clear = image.info["transparency"]
    image.info["transparency"] = (
        tuple(value >> 8 for value in clear)
        if isinstance(clear, tuple)
        else clear * 255 // (2 ** data[24] - 1)
    )
    return image


def _has_no_transparency(image: Image.Image, data: bytes) -> bool:
    """Return whether what Pillow takes for transparency in a TGA file is something else."""
    if image.mode != "RGBA":
        return False
    if data[16] == 16:  # Pillow turns the meaning of the highest bit around
        return True
    # The lower half of byte 17 is the number of bits of transparency.
    return data[17] & 15 == 0 and image.getchannel("A").getextrema() == (0, 0)


def _read_opaque(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=("TGA",)).convert("RGB")


def _is_plain(tags: _Tags) -> bool:
    return tags[:2] in ((8, 3), (8, 4)) and tags.extra in ((), (2,)) and tags.photometric < 8


_MISREAD = (
    _Misread("TIFF", "the values of a sensor (a raw photo)", _is_raw_photo, read_raw_photo),
    _tiff(
        "planes that are not RGB of 8 bits",
        lambda t: t.is_planar and t.n_samples > 1 and not _is_plain(t),
    ),
    _tiff("white as 0 and more than 8 bits", lambda t: t.photometric == 0 and t.bits > 8),
    _tiff("signed values", lambda t: t.sample_format == 2),
    _tiff("32-bit integers", lambda t: t.sample_format == 1 and t.bits == 32),
    _tiff(
        "compressed big-endian values of more than 16 bits",
        lambda t: t.is_compressed and t.is_big_endian and t.bits > 16,
    ),
    _tiff(
        "colors of fewer pixels, not compressed",
        lambda t: t.photometric == 6 and not t.is_compressed and t.chroma != (1, 1),
        _refuse_chroma,
    ),
    _tiff("a small version first", lambda t: t.is_small),
    _tiff("a value for what is missing", lambda t: t.has_nodata and t.bits > 8),
    _Misread("TIFF", "a palette of values up to 255", _has_byte_palette, read_tiff),
    _Misread("TIFF", "16-bit colors of 15 bits or fewer", _are_dark_colors, read_tiff),
    _Misread("PNG", "16-bit colors of 15 bits or fewer", _are_dark_colors, read_png),
    _Misread("PPM", "16-bit colors of 15 bits or fewer", _are_dark_colors, _read_deep_ppm),
    _Misread("PNG", "", _has_unscaled_clear, _read_scaling_clear),
    _Misread("TGA", "", _has_no_transparency, _read_opaque),
    _Misread(
        "JPEG2000",
        "other than 8 bits, or channels of different sizes",
        _has_other_channels,
        read_jpeg2000,
    ),
    _Misread("JPEG2000", "channels in another order", _has_other_order, read_jpeg2000),
)


def open_image(data: bytes, formats: tuple[str, ...]) -> Image.Image:
    """Open an image file; Pillow reads its pixels only when they are needed.

    Raises
    ------
    UnidentifiedImageError
        If no reader knows the format.
    DecodeError
        If the file cannot be read, or only with a package that is not installed.
    """
    if data.startswith(b"8BPS"):
        return read_photoshop(data)
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except (UnidentifiedImageError, ValueError):
        if data.startswith(_RAW_BEGINNINGS):
            return _read(read_raw_photo, data, "a raw photo")
        if data.startswith(_TIFF_BEGINNINGS):
            return _read(read_tiff, data, "TIFF of a kind that Pillow cannot read")
        if data[4:8] == b"ftyp" and b"Exif" in data:
            # Pillow refuses an AVIF file with damaged EXIF data; without them, it reads the file.
            return Image.open(io.BytesIO(data.replace(b"Exif", b"none")), formats=formats)
        raise


def corrected(image: Image.Image, data: bytes) -> Image.Image:
    """Return an image as Pillow opened it or, if Pillow misreads its kind, read otherwise.

    Raises
    ------
    DecodeError
        If the kind cannot be read, or only with a package that is not installed.
    """
    for kind in _MISREAD:
        if kind.format == image.format and kind.are_these(image, data):
            other = _read(kind.read, data, f"{kind.format} with {kind.what}")
            with suppress(Exception):  # whatever Pillow raises for damaged EXIF data
                orientation = image.getexif().get(Base.Orientation, 1)
                other.getexif().setdefault(Base.Orientation, orientation)
            return other
    if image.format == "PPM" and image.mode == "I" and _tile(image).codec_name != "raw":
        image.info[WHITE] = 2**16 - 1  # Pillow scales gray values to 16 bits
    if image.format == "PNG":
        image.info[WHITE] = png_white(data)
    if image.format == "TIFF":
        image.info[WHITE] = tiff_white(_tags(image).bits, image.tag_v2)  # type: ignore[attr-defined]
    return image


def _read(read: Callable[[bytes], Image.Image], data: bytes, what: str) -> Image.Image:
    try:
        return read(data)
    except MissingReaderError:
        way = "pip install 'resnet-kmeans[formats]'"
        raise DecodeError(f"{what}, which takes the formats extra: {way}") from None
    except (DecodeError, Image.DecompressionBombError):
        raise
    # tifffile, imagecodecs and LibRaw raise errors of their own, without a base class.
    except Exception as error:
        first = (*error.args, "")[0]
        said = first.decode(errors="replace") if isinstance(first, bytes) else str(error)
        raise DecodeError(
            f"{what}, which cannot be read ({said or type(error).__name__})"
        ) from None

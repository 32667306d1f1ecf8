"""Rewrites Photoshop files so that Pillow reads their composite picture."""

import io
import struct

import numpy as np
from PIL import Image, ImageChops

from resnet_kmeans.exceptions import DecodeError

_HEADER = struct.Struct(">4sH6xHIIHH")  # signature, version, channels, height, width, bits, mode
_BITMAP, _GRAY, _INDEXED, _RGB, _CMYK, _MULTICHANNEL, _DUOTONE, _LAB = 0, 1, 2, 3, 4, 7, 8, 9
_N_COLORS = {_BITMAP: 1, _GRAY: 1, _INDEXED: 1, _RGB: 3, _CMYK: 4, _DUOTONE: 1, _LAB: 3}
_RAW, _RUN_LENGTHS = 0, 1  # compressions
_EXIF, _VERSION_INFO = 1058, 1057  # image resources


def read_photoshop(data: bytes) -> Image.Image:
    """Open the composite of a Photoshop file, without its saved selections and spot colors.

    Pillow looks for the planes at wrong places if there are more than it needs, takes a saved
    selection for transparency, inverts bitmaps, and does not know 16 bits.

    Raises
    ------
    DecodeError
        If the file has no composite, or one of a kind that is not supported.
    """
    _, version, n_channels, height, width, bits, mode = _HEADER.unpack_from(data)
    if version != 1:
        raise DecodeError("a large Photoshop file (PSB), which Pillow cannot read")
    start, sections = _HEADER.size, []
    for _ in range(3):
        size = int.from_bytes(data[start : start + 4], "big")
        sections.append(data[start + 4 : start + 4 + size])
        start += 4 + size
    palette, resources, layers = sections
    known = _resources(resources)
    if known.get(_VERSION_INFO, b"\0\0\0\0\1")[4] == 0:
        raise DecodeError("saved by Photoshop without a composite picture")
    if mode not in _N_COLORS or bits not in (1, 8, 16):
        kind = "inks without names" if mode == _MULTICHANNEL else f"{bits} bits per channel"
        raise DecodeError(f"a Photoshop file with {kind}, which Pillow cannot read")
    row_bytes = (width + 7) // 8 if bits == 1 else width * bits // 8
    n_planes, planes = _N_COLORS[mode], _planes(data[start:], n_channels, height, row_bytes)
    chosen = planes[1][:n_planes]
    if n_channels > n_planes and mode in (_GRAY, _RGB) and _has_transparency(layers):
        # Pillow knows transparency only with three colors.
        chosen = [*(chosen * 3)[:3], planes[1][n_planes]]
        mode = _RGB
    # With 16 bits, each row is twice as long, and its even bytes are the higher ones.
    written_width = width * 2 if bits == 16 else width
    header = _HEADER.pack(b"8BPS", 1, len(chosen), height, written_width, min(bits, 8), mode)
    counts, rows = (b"".join(part) for part in zip(*chosen))
    parts = [header, _sized(palette), _sized(b""), _sized(b""), planes[0], counts, rows]
    image = Image.open(io.BytesIO(b"".join(parts)), formats=("PSD",))
    return _finish(image, width, bits, known.get(_EXIF))


def _finish(image: Image.Image, width: int, bits: int, exif: bytes | None) -> Image.Image:
    if bits == 1:
        image = ImageChops.invert(image.convert("L"))
    if bits == 16:
        every_second = (2, 0, -0.5, 0, 1, 0)
        size = width, image.height
        image = image.transform(size, Image.Transform.AFFINE, every_second)
    if image.mode == "RGBA" and _is_blended(image):
        image = image.convert("RGB")
    if exif:
        image.info["exif"] = exif
    return image


def _is_blended(image: Image.Image) -> bool:
    """Return whether colors are blended with white already, as Photoshop does, others do not."""
    values = np.asarray(image)
    # Then no color is darker than its share of white; one level is for rounding.
    return bool((values[..., :3].min(axis=2) >= 254 - values[..., 3].astype(np.int16)).all())


def _sized(section: bytes) -> bytes:
    return len(section).to_bytes(4, "big") + section


def _resources(section: bytes) -> dict[int, bytes]:
    """Return the image resources by their numbers."""
    found, at = {}, 0
    while section[at : at + 4] == b"8BIM":
        number, name_size = struct.unpack_from(">HB", section, at + 4)
        at += 6 + (name_size + 2) // 2 * 2
        size = int.from_bytes(section[at : at + 4], "big")
        found[number] = section[at + 4 : at + 4 + size]
        at += 4 + (size + 1) // 2 * 2
    return found


def _has_transparency(layers: bytes) -> bool:
    """Return whether the first channel after the colors is transparency, not a selection."""
    # It is, if the number of layers is negative.
    return len(layers) >= 6 and struct.unpack_from(">h", layers, 4)[0] < 0


def _planes(
    data: bytes, n_planes: int, height: int, row_bytes: int
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return the compression, and for each plane the sizes of its coded rows and those rows."""
    kind, compression = data[:2], int.from_bytes(data[:2], "big")
    if compression == _RAW:
        size = height * row_bytes
        starts = [2 + i * size for i in range(n_planes)]
        return kind, [(b"", data[start : start + size]) for start in starts]
    if compression != _RUN_LENGTHS:
        raise DecodeError("a Photoshop file compressed in a way that Pillow cannot read")
    counts = np.frombuffer(data, ">u2", n_planes * height, 2).reshape(n_planes, height)
    ends = 2 + counts.nbytes + np.cumsum(counts.sum(axis=1, dtype=np.int64))
    starts = [2 + counts.nbytes, *ends[:-1]]
    return kind, [(c.tobytes(), data[a:b]) for c, a, b in zip(counts, starts, ends)]

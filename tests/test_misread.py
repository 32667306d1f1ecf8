"""Files that Pillow reads wrongly or not at all: read right, or refused by what they are.

Each is a picture with a left and a right half of one color each.
"""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from resnet_kmeans.images import decode, reason_unreadable

LEFT, RIGHT = (230, 120, 40), (20, 60, 200)
GRAY = [(230,) * 3, (20,) * 3]
COLORS = [LEFT, RIGHT]
SIDE = 32
GRAYSCALE, RGB, PALETTE, CMYK = 1, 2, 3, 5  # of a TIFF file's PhotometricInterpretation
WITH_EXTRA = pytest.param(True, id="with the formats extra")
WITHOUT_EXTRA = pytest.param(False, id="without it")


def halves(left: float, right: float) -> np.ndarray:
    values = np.full((SIDE, SIDE), left)
    values[:, SIDE // 2 :] = right
    return values


def with_edge(values: np.ndarray, value: float) -> np.ndarray:
    """Return values with others in the first rows, which `assert_halves` does not look at."""
    values[:1] = value
    return values


def planes(colors, scale: float = 1) -> list[np.ndarray]:
    return [halves(left, right) * scale for left, right in zip(*colors)]


def tiff(
    values: list[np.ndarray],
    dtype: str,
    *,
    photometric: int = GRAYSCALE,
    planar: bool = False,
    compressed: bool = False,
    extra: tuple[int, ...] = (),
    tags: dict[int, list[int] | str] | None = None,
) -> bytes:
    """Write channels to a TIFF file of one strip, or one a channel, tag by tag.

    The first letter of `dtype` is the byte order, as in NumPy.
    """
    order, kind, n_bytes = dtype[0], dtype[1], int(dtype[2])
    parts = values if planar else [np.stack(values, -1)]
    strips = [part.astype(dtype).tobytes() for part in parts]
    strips = [zlib.compress(strip) for strip in strips] if compressed else strips
    n, sizes = len(values), [len(strip) for strip in strips]
    starts = [8 + sum(sizes[:i]) for i in range(len(strips))]
    found = {
        **{256: [SIDE], 257: [SIDE], 258: [8 * n_bytes] * n, 259: [8 if compressed else 1]},
        **{262: [photometric], 273: starts, 277: [n], 278: [SIDE], 279: sizes},
        **{284: [2 if planar else 1], 339: [{"u": 1, "i": 2, "f": 3}[kind]] * n},
        **({338: extra} if extra else {}),
        **(tags or {}),
    }
    return _tiff_file(order, b"".join(strips), found)


def _tiff_file(order: str, data: bytes, tags: dict[int, list[int] | str]) -> bytes:
    start = 8 + len(data)
    entries, rest = b"", b""
    for tag, values in sorted(tags.items()):
        if isinstance(values, str):
            code, raw = 2, values.encode() + b"\0"
        else:
            kind, code = ("I", 4) if tag in (273, 279) else ("H", 3)
            raw = struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(raw) > 4:
            raw, value = b"", raw
            raw = struct.pack(f"{order}I", start + 6 + 12 * len(tags) + len(rest))
            rest += value
        n_values = len(values) + isinstance(values, str)
        entries += struct.pack(f"{order}HHI", tag, code, n_values) + raw.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    return head + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + rest


def palette(scale: int) -> dict[int, list[int]]:
    return {320: [v * scale for pair in zip(LEFT, RIGHT) for v in (*pair, *[0] * 254)]}


def psd(channels, mode: int, *, bits: int = 8, packed: bool = True, layers: int = 0, resources=b""):
    """Write a Photoshop file as Photoshop does, with PackBits or raw; `layers` is their number."""
    dtype = {1: "u1", 8: "u1", 16: ">u2"}[bits]
    rows = [row.astype(dtype).tobytes() for channel in channels for row in channel]
    rows = [bytes([len(row) - 1]) + row for row in rows] if packed else rows
    table = b"".join(struct.pack(">H", len(row)) for row in rows) if packed else b""
    width = channels[0].shape[1] * (8 if bits == 1 else 1)
    section = struct.pack(">Ih", 2, layers) if layers else b""
    return b"".join(
        [
            struct.pack(">4sH6xHIIHH", b"8BPS", 1, len(channels), SIDE, width, bits, mode),
            bytes(4),
            *(struct.pack(">I", len(part)) + part for part in (resources, section)),
            struct.pack(">H", packed) + table + b"".join(rows),
        ]
    )


def resource(number: int, content: bytes) -> bytes:
    return (
        b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + bytes(len(content) % 2)
    )


def jpeg2000(values: np.ndarray, bits: int, box: bytes = b"") -> bytes:
    imagecodecs = pytest.importorskip("imagecodecs", reason="the formats extra is not installed")
    data = imagecodecs.jpeg2k_encode(values, level=0, bitspersample=bits, codecformat="jp2")
    start = data.index(b"jp2h") - 4
    size = int.from_bytes(data[start : start + 4], "big")
    header = (size + len(box)).to_bytes(4, "big") + data[start + 4 : start + size] + box
    return data[:start] + header + data[start + size :]


def deep(bits: int, colors=COLORS) -> np.ndarray:
    """Values of so many bits in 16, of shape (SIDE, SIDE, 3)."""
    return np.stack(planes(colors, (2**bits - 1) / 255), -1).round().astype(np.uint16)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pnm(kind: bytes, values: np.ndarray, white: int) -> bytes:
    is_text = kind == b"P3"
    rows = (
        " ".join(map(str, values.ravel())).encode() if is_text else values.astype(">u2").tobytes()
    )
    return kind + b"\n%d %d\n%d\n" % (SIDE, SIDE, white) + rows


def png_of_16_bits(values: np.ndarray) -> bytes:
    imagecodecs = pytest.importorskip("imagecodecs", reason="the formats extra is not installed")
    return imagecodecs.png_encode(values)


def raw_photo(preview: Image.Image | None, values: np.ndarray) -> bytes:
    """Write a DNG file on its side, of sensor values with red at even and blue at odd pixels."""
    tifffile = pytest.importorskip("tifffile", reason="the formats extra is not installed")
    file, is_once = io.BytesIO(), True
    camera = [
        (50706, "B", 4, bytes([1, 4, 0, 0]), is_once),  # DNGVersion
        (50708, "s", 0, "Camera", is_once),
        (50721, "2i", 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), is_once),
        (274, "H", 1, 6, is_once),  # to be turned right
    ]
    sensor = [(33421, "H", 2, (2, 2), is_once), (33422, "B", 4, bytes([0, 1, 1, 2]), is_once)]
    thumbnail = np.full((16, 16, 3), 99, np.uint8)
    options = {"metadata": None, "subfiletype": 1}
    with tifffile.TiffWriter(file) as writer:
        n_more = 1 if preview is None else 2
        writer.write(thumbnail, photometric="rgb", subifds=n_more, extratags=camera, **options)
        writer.write(values, photometric="cfa", metadata=None, extratags=sensor)
        if preview is not None:
            shape = (preview.height, preview.width, 3)
            coded = iter([encoded(preview, "JPEG", quality=95)])
            kind = {"photometric": "ycbcr", "compression": "jpeg", "rowsperstrip": shape[0]}
            writer.write(coded, shape=shape, dtype=np.uint8, **kind, **options)
    return file.getvalue()


FULL, HALF = halves(255, 255), halves(90, 160)
INK = [halves(255, 0), FULL, FULL, FULL]  # as Photoshop stores CMYK: 255 is no ink
PAPER_AND_CYAN = [WHITE := (255,) * 3, (0, 255, 255)]
BLUE_GREEN_RED = b"".join(struct.pack(">HHH", i, 0, 3 - i) for i in range(3))
CDEF = struct.pack(">I4sH", 28, b"cdef", 3) + BLUE_GREEN_RED

DARK_GRAY = [(57,) * 3, (5,) * 3]  # GRAY times 4 in 12 bits

# What Pillow reads right, and what the package reads by itself.
PLAIN = {
    "tiff-rgb-16": (lambda: tiff(planes(COLORS, 257), "<u2", photometric=RGB), COLORS),
    "tiff-rgb-planar-8": (
        lambda: tiff(planes(COLORS), "<u1", photometric=RGB, planar=True),
        COLORS,
    ),
    "tiff-gray-16-big-deflate": (lambda: tiff(planes(GRAY, 257)[:1], ">u2", compressed=True), GRAY),
    "tiff-palette": (
        lambda: tiff([halves(0, 1)], "<u1", photometric=PALETTE, tags=palette(257)),
        COLORS,
    ),
    "ppm-rgb-12-in-16": (lambda: pnm(b"P6", deep(12), 65535), COLORS),
    "ppm-rgb-16": (lambda: pnm(b"P6", deep(16), 65535), COLORS),
    "ppm-rgb-16-as-text": (lambda: pnm(b"P3", deep(16), 65535), COLORS),
    "pgm-dark-in-12-bits": (lambda: pnm(b"P5", planes(GRAY, 4)[0], 4095), DARK_GRAY),
    "psd-rgb": (lambda: psd(planes(COLORS), 3), COLORS),
    "psd-rgb-raw": (lambda: psd(planes(COLORS), 3, packed=False), COLORS),
    "psd-rgb-16": (lambda: psd(planes(COLORS, 257), 3, bits=16), COLORS),
    "psd-rgb-16-raw": (lambda: psd(planes(COLORS, 257), 3, bits=16, packed=False), COLORS),
    "psd-cmyk-16": (lambda: psd([257 * c for c in INK], 4, bits=16), PAPER_AND_CYAN),
    "psd-rgb-selection": (lambda: psd([*planes(COLORS), HALF], 3), COLORS),
    "psd-rgb-alpha-selection": (lambda: psd([*planes(COLORS), FULL, HALF], 3, layers=-1), COLORS),
    "psd-rgb-transparent": (
        lambda: psd([*planes(COLORS), halves(255, 0)], 3, layers=-1),
        [LEFT, WHITE],
    ),
    "psd-gray-transparent": (
        lambda: psd([planes(GRAY)[0], halves(255, 0)], 1, layers=-1, packed=False),
        [GRAY[0], WHITE],
    ),
    "psd-gray-selection": (lambda: psd([planes(GRAY)[0], HALF], 1), GRAY),
    "psd-cmyk-spot": (lambda: psd([*INK, HALF], 4), PAPER_AND_CYAN),
    "psd-bitmap": (  # 1 is black
        lambda: psd([halves(0, 255)[:, ::8]], 0, bits=1),
        [WHITE, (0, 0, 0)],
    ),
}
# What takes the formats extra, and how the reason without it begins.
MISREAD = {
    "tiff-rgb-planar-16": (
        lambda: tiff(planes(COLORS, 257), "<u2", photometric=RGB, planar=True),
        *(COLORS, "TIFF with planes that are not RGB of 8 bits"),
    ),
    "tiff-rgb-planar-16-big": (
        lambda: tiff(planes(COLORS, 257), ">u2", photometric=RGB, planar=True),
        *(COLORS, "TIFF with planes that are not RGB of 8 bits"),
    ),
    "tiff-gray-alpha-planar": (
        lambda: tiff([planes(GRAY)[0], FULL], "<u1", planar=True, compressed=True, extra=(2,)),
        *(GRAY, "TIFF with planes that are not RGB of 8 bits"),
    ),
    "tiff-white-is-zero-16": (
        lambda: tiff([65535 - planes(GRAY, 257)[0]], "<u2", photometric=0),
        *(GRAY, "TIFF with white as 0"),
    ),
    "tiff-palette-of-bytes": (
        lambda: tiff([halves(0, 1)], "<u1", photometric=PALETTE, tags=palette(1)),
        *(COLORS, "TIFF with a palette of values up to 255"),
    ),
    "tiff-signed": (
        lambda: tiff([halves(0x7300, 0x0A00)], "<i2"),
        *(GRAY, "TIFF with signed values"),
    ),
    "tiff-signed-big-deflate": (
        lambda: tiff([halves(0x7300, 0x0A00)], ">i2", compressed=True),
        *(GRAY, "TIFF with signed values"),
    ),
    "tiff-elevations-with-nodata": (
        lambda: tiff([with_edge(halves(900, 100), -9999)], "<i2", tags={42113: "-9999"}),
        *([(255,) * 3, (0,) * 3], "TIFF with signed values"),
    ),
    "tiff-uint16-with-nodata": (
        lambda: tiff([with_edge(halves(230, 20), 65535)], "<u2", tags={42113: "65535"}),
        *(GRAY, "TIFF with a value for what is missing"),
    ),
    "tiff-uint32": (
        lambda: tiff([halves(0xE600, 0x1400)], "<u4"),
        *(GRAY, "TIFF with 32-bit integers"),
    ),
    "tiff-float-big-deflate": (
        lambda: tiff(planes(GRAY)[:1], ">f4", compressed=True),
        *([(255,) * 3, (0,) * 3], "TIFF with compressed big-endian values"),
    ),
    "tiff-gray-alpha-16": (
        lambda: tiff([planes(GRAY, 257)[0], 257 * FULL], "<u2", extra=(2,)),
        *(GRAY, "TIFF of a kind that Pillow cannot read"),
    ),
    "tiff-cmyk-alpha": (
        lambda: tiff([FULL, *[0 * FULL] * 3, halves(255, 0)], "<u1", photometric=5, extra=(2,)),
        *([(0, 255, 255), WHITE], "TIFF of a kind that Pillow cannot read"),
    ),
    "tiff-rgb-12-in-16": (
        lambda: tiff(list(np.moveaxis(deep(12), -1, 0)), "<u2", photometric=RGB),
        *(COLORS, "16-bit colors of 15 bits or fewer"),
    ),
    "png-rgb-12-in-16": (
        lambda: png_of_16_bits(deep(12)),
        *(COLORS, "16-bit colors of 15 bits or fewer"),
    ),
    "png-rgba-12-in-16": (
        lambda: png_of_16_bits(np.dstack([deep(12), np.full((SIDE, SIDE), 65535, np.uint16)])),
        *(COLORS, "16-bit colors of 15 bits or fewer"),
    ),
    "png-black-almost-clear": (
        lambda: png_of_16_bits(np.dstack([deep(16) * 0, halves(1285, 65535).astype(np.uint16)])),
        *([(250,) * 3, (0, 0, 0)], "16-bit colors of 15 bits or fewer"),
    ),
    "jp2-rgb-16": (
        lambda: jpeg2000(deep(16), 16),
        COLORS,
        "JPEG2000 with other than 8 bits",
    ),
    "jp2-rgb-12": (
        lambda: jpeg2000(deep(12), 12),
        COLORS,
        "JPEG2000 with other than 8 bits",
    ),
    "jp2-rgb-12-in-16": (
        lambda: jpeg2000(deep(12), 16),
        COLORS,
        "JPEG2000 with other than 8 bits",
    ),
    "jp2-gray-9": (
        lambda: jpeg2000(deep(9, GRAY)[..., 0], 9),
        *(GRAY, "JPEG2000 with other than 8 bits"),
    ),
    "jp2-channels-in-another-order": (
        lambda: jpeg2000(np.stack(planes(COLORS), -1).astype(np.uint8)[..., ::-1].copy(), 8, CDEF),
        *(COLORS, "JPEG2000 with channels in another order"),
    ),
}


def assert_halves(data: bytes, colors) -> None:
    pixels = decode(data, (SIDE, SIDE)).astype(int)
    for part, color in ((pixels[1:, 2:14], colors[0]), (pixels[1:, 18:30], colors[1])):
        assert np.abs(part - color).max() <= 2


@pytest.mark.parametrize("name", PLAIN)
def test_what_takes_no_extra_is_read_right(name, without_formats):
    make, colors = PLAIN[name]
    assert_halves(make(), colors)


@pytest.mark.parametrize("name", MISREAD)
def test_what_pillow_misreads_is_read_right_with_the_extra(name):
    for package in ("tifffile", "imagecodecs"):
        pytest.importorskip(package, reason="the formats extra is not installed")
    make, colors, _ = MISREAD[name]
    assert_halves(make(), colors)


@pytest.fixture
def without_formats(monkeypatch):
    for package in ("tifffile", "imagecodecs", "rawpy"):
        monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.parametrize("name", MISREAD)
def test_what_pillow_misreads_is_refused_without_the_extra(name, monkeypatch):
    make, _, reason = MISREAD[name]
    data = make()
    for package in ("tifffile", "imagecodecs", "rawpy"):
        monkeypatch.setitem(sys.modules, package, None)
    told = reason_unreadable(data)
    assert reason in told
    assert "pip install 'resnet-kmeans[formats]'" in told


def red_and_blue() -> np.ndarray:
    """Sensor values of a picture of 64 x 64 pixels, its left half red, its right half blue."""
    values = np.zeros((64, 64), np.uint16)
    values[::2, :32:2] = values[1::2, 33::2] = 60000
    return values


def test_a_raw_photo_is_seen_by_its_preview_upright():
    preview = Image.new("RGB", (320, 240), RIGHT)
    preview.paste(LEFT, (0, 0, 160, 240))
    pixels = decode(raw_photo(preview, red_and_blue()), (SIDE, SIDE)).astype(int)
    assert np.abs(pixels[2:14] - LEFT).max() <= 6
    assert np.abs(pixels[18:30] - RIGHT).max() <= 6


def test_a_raw_photo_without_a_large_preview_is_developed():
    pixels = decode(raw_photo(None, red_and_blue()), (SIDE, SIDE)).astype(int)
    assert (pixels[2:14, :, 0] > 150).all()
    assert (pixels[18:30, :, 2] > 150).all()
    assert (pixels[2:14, :, 2] + pixels[18:30, :, 0] < 100).all()


def test_a_raw_photo_without_values_is_refused():
    told = reason_unreadable(raw_photo(None, np.zeros((64, 64), np.uint16)))
    assert told == "a raw photo without a picture"


def test_a_raw_photo_that_ends_early_is_refused_and_not_developed_from_what_was_in_memory():
    told = reason_unreadable(raw_photo(None, red_and_blue())[:-SIDE])
    assert told is not None
    assert "raw photo" in told  # older versions of LibRaw tell that the end is missing


def test_a_raw_photo_is_refused_without_the_extra(monkeypatch):
    data = raw_photo(None, red_and_blue())
    monkeypatch.setitem(sys.modules, "rawpy", None)
    assert reason_unreadable(data).startswith("TIFF with the values of a sensor (a raw photo)")
    assert "pip install 'resnet-kmeans[formats]'" in reason_unreadable(data)


@pytest.mark.parametrize("bits", [16, 14, 12, 10, 8])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_white_is_the_largest_number_of_as_many_bits_as_the_brightest_value_has(format, bits):
    values = np.round(planes(GRAY)[0] * (2**bits - 1) / 255).astype(np.uint16)
    values[0, 0] = 2**bits - 1
    pixels = decode(encoded(Image.fromarray(values), format), (SIDE, SIDE)).astype(int)
    assert np.abs(pixels[2:30, 2:14] - GRAY[0]).max() <= 1
    assert np.abs(pixels[2:30, 18:30] - GRAY[1]).max() <= 1


def test_white_is_what_a_file_says():
    dim = planes(GRAY, 4)[0]  # the brightest value is 920
    for tag in (281, 341):  # MaxSampleValue and SMaxSampleValue
        data = tiff([dim], "<u2", tags={tag: [4095]})
        assert_halves(data, [(round(230 * 4 * 255 / 4095),) * 3, (5,) * 3])
    assert_halves(tiff([dim], "<u2", tags={281: [65535]}), [(229,) * 3, (20,) * 3])  # says nothing
    png = encoded(Image.fromarray(dim.astype(np.uint16)), "PNG")
    start = png.index(b"IDAT") - 4
    sbit = struct.pack(">I4sB", 1, b"sBIT", 12)
    sbit += struct.pack(">I", zlib.crc32(sbit[4:]))
    assert_halves(png[:start] + sbit + png[start:], [(57,) * 3, (5,) * 3])


def test_a_gray_that_a_png_marks_as_transparent_is_scaled_as_the_others_are():
    # Two bits a pixel: 1 is dark gray, 2 is light gray and transparent.
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 2, 0, 0, 0, 0)
    rows = (b"\0" + b"\x55" * (SIDE // 8) + b"\xaa" * (SIDE // 8)) * SIDE
    chunks = [(b"IHDR", header), (b"tRNS", b"\0\2"), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    assert_halves(b"\x89PNG\r\n\x1a\n" + b"".join(parts), [(85,) * 3, (255,) * 3])


def test_a_color_of_16_bits_that_a_png_marks_as_transparent_is_white():
    values = deep(16)
    clear = struct.pack(">3H", *values[0, 0])
    data = png_of_16_bits(values)
    start = data.index(b"IDAT") - 4
    chunk = struct.pack(">I4s", 6, b"tRNS") + clear
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    assert_halves(data[:start] + chunk + data[start:], [WHITE, RIGHT])


def test_a_large_photoshop_file_is_refused():
    data = bytearray(psd(planes(COLORS), 3))
    data[5] = 2
    assert reason_unreadable(bytes(data)).startswith("a large Photoshop file (PSB)")


@pytest.mark.parametrize("size", [0, 4 * SIDE])
def test_a_tiff_file_without_its_values_is_refused(size):
    whole = tiff(planes(GRAY)[:1], "<i2")
    n_bytes = 2 * SIDE**2
    data = whole.replace(
        struct.pack("<HHII", 279, 4, 1, n_bytes), struct.pack("<HHII", 279, 4, 1, size)
    )
    assert data != whole
    assert reason_unreadable(data)


def test_a_tiff_file_whose_chroma_has_fewer_pixels_is_refused_and_not_read_as_noise():
    values = np.full((SIDE, SIDE // 2), 99, np.uint8)  # 6 bytes for each 2 by 2 pixels
    told = reason_unreadable(tiff([values] * 3, "<u1", photometric=6))
    assert told == "TIFF whose colors have fewer pixels, not compressed: not supported"


@pytest.mark.parametrize("place", ["a page", "a page below"])
def test_of_a_tiff_file_with_a_small_version_first_the_picture_is_read(place):
    tifffile = pytest.importorskip("tifffile", reason="the formats extra is not installed")
    picture = np.stack(planes(COLORS), -1).astype(np.uint8)
    file, is_below = io.BytesIO(), place == "a page below"
    with tifffile.TiffWriter(file) as writer:
        small = np.zeros((8, 8, 3), np.uint8)
        options = {"photometric": "rgb", "metadata": None}
        writer.write(small, subfiletype=1, subifds=int(is_below), **options)
        writer.write(picture, **options)
    assert_halves(file.getvalue(), COLORS)


@pytest.mark.parametrize("values", [(0.0, 1e-12), (1e6, 1e6 + 0.01), (-3e38, 3e38)])
@pytest.mark.filterwarnings("error")
def test_floats_of_any_range_are_stretched(values):
    assert_halves(tiff([halves(*values)], "<f8"), [(0,) * 3, (255,) * 3])


def test_a_16_bit_tga_is_not_all_transparent():
    header = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, SIDE, SIDE, 16, 0x21)
    data = header + halves(0x8000 + 0x7C00, 0x8000 + 0x1F).astype("<u2").tobytes()
    assert_halves(data, [(255, 0, 0), (0, 0, 255)])


def test_a_picture_that_is_read_by_other_means_is_upright():
    exif = Image.Exif()
    exif[274] = 3
    whole = png_of_16_bits(deep(12)[::-1, ::-1].copy())
    content = exif.tobytes()[6:]
    chunk = b"eXIf" + content
    chunk = struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    assert_halves(whole[:33] + chunk + whole[33:], COLORS)


def test_what_looks_like_the_white_of_a_png_is_not_taken_for_it():
    text = b"tEXtsee sBIT!!!!"
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    gray = encoded(Image.fromarray(deep(12, GRAY)[..., 0]), "PNG")
    assert_halves(gray[:33] + chunk + gray[33:], GRAY)


def test_a_tga_without_transparency_is_not_all_transparent():
    image = Image.fromarray(np.dstack([*planes(COLORS), halves(0, 0)]).astype(np.uint8))
    data = bytearray(encoded(image, "TGA"))
    data[17] &= 0xF0
    assert_halves(bytes(data), COLORS)


def test_a_photoshop_file_without_a_composite_is_refused():
    told = reason_unreadable(psd([FULL] * 3, 3, resources=resource(1057, bytes(5))))
    assert told == "saved by Photoshop without a composite picture"


def test_a_photoshop_file_is_set_upright():
    exif = Image.Exif()
    exif[274] = 6
    data = psd(planes(COLORS), 3, resources=resource(1058, exif.tobytes()[6:]))
    assert np.abs(decode(data, (SIDE, SIDE))[2:14].astype(int) - LEFT).max() <= 2


def test_colors_that_photoshop_blended_with_white_are_not_blended_again():
    blended = [halves((v + 255) / 2, (w + 255) / 2) for v, w in zip(LEFT, RIGHT)]
    seen = [[(v + 255) / 2 for v in color] for color in COLORS]
    assert_halves(psd([*blended, halves(128, 128)], 3, layers=-1), seen)


def test_jpeg_2000_with_channels_of_different_sizes_is_refused():
    data = jpeg2000(np.stack(planes(COLORS), -1).astype(np.uint8), 8)
    start = data.index(b"\xff\x4f\xff\x51") + 42
    halved = data[: start + 4] + b"\2\2" + data[start + 6 :]
    assert "channels of different sizes" in reason_unreadable(halved)


def test_a_picture_with_a_closed_file_says_so(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (9, 9)).save(path)
    with Image.open(path) as unread:
        pass
    closed = Image.new("RGB", (9, 9))
    closed.close()
    for image in (unread, closed):
        assert reason_unreadable(image).startswith("a PIL image that was closed")

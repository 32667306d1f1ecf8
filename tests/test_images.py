"""From a folder to pixels: what is found, what becomes which colors, what is refused why.

The colors are those that a network sees: the stand-in returns the mean color of each cell of a
grid of 4x4, of which an image of 32x32 pixels has cells of 8x8.
"""

import csv
import io
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zlib
from pathlib import Path

import joblib
import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageFile

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    export_clusters,
    find_images,
)
from resnet_kmeans.exceptions import (
    DecodeError,
    FolderNotFoundError,
    UnreadableImagesError,
    UnreadableImagesWarning,
)

# The grid of the stand-in is too coarse to see how sharp an image is, or which rows it has.
from resnet_kmeans.images import decode, decode_noting

PILLOW = int(PIL.__version__.split(".")[0])
RED = (200, 40, 90)
GRAY = 93  # of RED, as ITU-R 601-2 weighs the channels
WHITE = (255, 255, 255)
IMAGENET = (124, 116, 104)  # its mean color
EDGE = 14  # how far the mean of a cell may be off beside an edge, which is smoothed
LARGE_SIDE = 6000  # pixels; images of more than 33 megapixels are decoded one at a time
JOURNAL_OF_AN_EXPORT = ".resnet-kmeans.jsonl"


@pytest.fixture(scope="module")
def look(stand_in):
    """A function that returns the colors of the grid of an image, from 0 to 255."""

    def look(source, **params) -> np.ndarray:
        params = {"weights": stand_in, "input_shape": (32, 32), "cache": None, **params}
        row = ResNetFeaturizer(**params).transform([source])
        return 255 * row.reshape(3, 4, 4).transpose(1, 2, 0)

    return look


@pytest.fixture(scope="module")
def reasons(stand_in):
    """A function that returns why which of some images cannot be read."""
    featurizer = ResNetFeaturizer(weights=stand_in, input_shape=(32, 32), cache=None)

    def reasons(*sources) -> dict[str, str]:
        try:
            featurizer.transform(list(sources))
        except UnreadableImagesError as error:
            return error.reasons
        return {}

    return reasons


def encoded(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def solid(mode: str, color=RED, size=(32, 32)) -> Image.Image:
    image = Image.new("RGB", size, color)
    return image.quantize(4) if mode == "P" else image.convert(mode)


def png(width: int, height: int, *chunks: tuple[bytes, bytes], color_type: int = 2) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IEND", b"")]
    sums = [zlib.crc32(kind + data) for kind, data in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)
        for (kind, data), crc in zip(parts, sums)
    )


def assert_color(cells: np.ndarray, color, within: float = 3) -> None:
    assert np.abs(cells - color).max() <= within


def cell_means(values: np.ndarray) -> np.ndarray:
    """Return the mean of each cell of a square array, as the stand-in does."""
    n = len(values) // 4
    return values.reshape(4, n, 4, n).mean(axis=(1, 3), dtype=np.float64)


@pytest.mark.parametrize(
    ("format", "modes"),
    [
        ("AVIF", ["RGB", "RGBA"]),
        ("BMP", ["RGB", "P", "RGBA"]),
        ("GIF", ["P", "RGB"]),
        ("ICO", ["RGB", "RGBA"]),
        ("JPEG", ["RGB", "CMYK", "YCbCr"]),
        ("JPEG2000", ["RGB", "RGBA"]),
        ("MPO", ["RGB"]),
        ("PNG", ["RGB", "RGBA", "P"]),
        ("PPM", ["RGB"]),
        ("TGA", ["RGB", "RGBA", "P"]),
        # Pillow before 13 cannot read the YCbCr TIFF files that it writes.
        ("TIFF", ["RGB", "RGBA", "P", "CMYK", "LAB", *["YCbCr"] * (PILLOW >= 13)]),
        ("WEBP", ["RGB", "RGBA"]),
    ],
)
def test_every_format_and_mode_keeps_its_color(look, format, modes):
    for mode in modes:
        assert_color(look(encoded(solid(mode), format)), RED, within=6)


@pytest.mark.parametrize(
    ("format", "mode"),
    [*(("JPEG", "L"), ("PNG", "L"), ("PNG", "LA"), ("TIFF", "L"), ("PPM", "L"), ("BMP", "L"))],
)
def test_gray_becomes_equal_red_green_and_blue(look, format, mode):
    assert_color(look(encoded(solid(mode), format)), (GRAY,) * 3)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM"])
def test_black_and_white_stays_black_and_white(look, format):
    half = Image.new("1", (32, 32))
    half.paste(1, (16, 0, 32, 32))
    cells = look(encoded(half, format))
    assert_color(cells[:, :2], 0, within=0.01)
    assert_color(cells[:, 2:], 255, within=0.01)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(look, format):
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    cells = look(encoded(Image.fromarray(ramp), format))
    assert np.abs(cells - cell_means(ramp / 257)[..., None]).max() <= 1


def test_float_and_wide_integers_span_their_own_range(look):
    ramp = np.linspace(-2, 6, 32 * 32).reshape(32, 32)
    ramp_32 = ((ramp + 2) * 1e8).astype(np.int32)
    expected = cell_means((ramp + 2) / 8 * 255)[..., None]
    ramp[5, 5] = np.nan
    for values in (ramp.astype(np.float32), ramp_32):
        cells = look(encoded(Image.fromarray(values), "TIFF"))
        assert np.abs(cells - expected).max() <= 1


def test_twelve_bits_in_tiff_reach_white(look):
    packed = bytes([0xFF, 0xFF, 0xFF]) * (32 * 32 // 2)
    tags = [(256, 32), (257, 32), (258, 12), (259, 1), (262, 1), (273, 8 + 2 + 9 * 12 + 4)]
    tags += [(277, 1), (278, 32), (279, len(packed))]
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    assert_color(look(head + entries + struct.pack("<I", 0) + packed), WHITE)


@pytest.mark.parametrize(
    "mode",
    [
        *("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA"),
        *("RGBX", "RGBa", "La", "I;16", "I;16L", "I;16B", "I;16N"),
    ],
)
def test_an_image_in_memory_may_have_any_mode_of_pillow(reasons, mode):
    assert reasons(Image.new(mode, (5, 7))) == {}


def test_what_is_transparent_is_white(look):
    for mode, format in (("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF")):
        clear = Image.new(mode, (32, 32), (0,) * len(mode))
        assert_color(look(encoded(clear, format)), WHITE)
    half = Image.new("RGBA", (32, 32), (*RED, 128))
    assert_color(look(encoded(half, "PNG")), [(channel + 255) / 2 for channel in RED])


@pytest.mark.parametrize(
    ("mode", "clear"), [("P", 0), ("L", 0), ("RGB", (0, 0, 0)), ("I;16", 0), ("1", 0)]
)
def test_a_color_marked_as_transparent_is_white(look, mode, clear):
    data = encoded(Image.new(mode, (32, 32)), "PNG", transparency=clear)
    assert_color(look(data), WHITE)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(look, format):
    later = [solid("RGB", (0, 0, 255)), solid("RGB", (0, 255, 0))]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(solid("RGB"), format, save_all=True, append_images=later, **options)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 3
    assert_color(look(data), RED)


STORED = {  # how a picture is turned so that each EXIF orientation sets it upright
    **{1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180},
    **{4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE},
    **{6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE},
    8: Image.Transpose.ROTATE_270,
}


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_is_set_upright(look, format, orientation):
    upright = Image.new("RGB", (64, 32), RED)
    upright.paste((20, 200, 40), (0, 0, 32, 16))
    upright.paste((30, 60, 220), (0, 16, 32, 32))
    turn = STORED[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    options = {"quality": 95} if format in ("JPEG", "WEBP") else {}
    data = encoded(stored, format, exif=oriented(orientation), **options)
    for source in (data, Image.open(io.BytesIO(data))):
        cells = look(source, input_shape=(32, 64))
        assert_color(cells[:2, :2], (20, 200, 40), EDGE)
        assert_color(cells[2:, :2], (30, 60, 220), EDGE)
        assert_color(cells[:, 2:], RED, EDGE)


def test_a_photo_on_its_side_is_not_drafted_below_the_asked_size():
    rows = np.arange(480) // 4 % 2 * 255  # upright, columns: 60 pairs of stripes side by side
    stored = Image.fromarray(np.repeat(rows[:, None], 4800, axis=1).astype(np.uint8))
    # Upright it is 480 wide, 4800 high.
    pixels = decode(encoded(stored, "JPEG", exif=oriented(6), quality=95), (32, 400))
    assert pixels[16].std() > 80


def test_a_photo_of_twice_the_asked_size_is_decoded_whole():
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    data = encoded(noise, "JPEG", quality=95)
    whole = Image.open(io.BytesIO(data)).resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(decode(data, (32, 32)), np.asarray(whole))


def test_a_large_image_stays_as_sharp_as_a_small_one():
    columns = np.random.default_rng(0).integers(0, 256, LARGE_SIDE, dtype=np.uint8)
    large = Image.fromarray(np.tile(columns, (LARGE_SIDE, 1)))
    small = Image.fromarray(np.tile(columns, (64, 1)))
    shape = (32, 1500)
    whole = np.asarray(small.resize(shape[::-1], Image.Resampling.BILINEAR), dtype=float)
    gap = np.abs(decode(large, shape)[..., 0] - whole)
    assert gap.mean() < whole.std() / 4


def test_stretch_crop_and_pad_keep_what_they_promise(look):
    wide = Image.new("RGB", (64, 32), RED)
    wide.paste((0, 0, 0), (0, 0, 16, 32))
    wide.paste((0, 0, 0), (48, 0, 64, 32))
    stretched = look(wide)
    assert_color(stretched[:, [0, 3]], 0, EDGE)
    assert_color(stretched[:, 1:3], RED, EDGE)
    assert_color(look(wide, resize="crop"), RED)
    padded = look(wide, resize="pad")
    assert_color(padded[[0, 3]], IMAGENET, within=0.01)
    assert_color(padded[1:3, [0, 3]], 0, EDGE)
    assert_color(padded[1:3, 1:3], RED, EDGE)


@pytest.mark.parametrize("size", [(1, 1), (1, 60_000), (60_000, 1), (3, 2)])
def test_a_strip_or_a_dot_is_an_image_too(look, size):
    data = encoded(Image.new("RGB", size, RED), "PNG")
    assert_color(look(data), RED)
    assert_color(look(data, resize="crop"), RED)
    share = max(1, round(32 * min(size) / max(size))) / 32  # of a padded image
    mean = look(data, resize="pad").mean(axis=(0, 1))
    assert_color(mean, share * np.array(RED) + (1 - share) * np.array(IMAGENET), within=1)


@pytest.mark.parametrize(
    ("mode", "color"),
    [
        ("L", (GRAY,) * 3),
        ("P", RED),
        pytest.param("RGB", RED, marks=pytest.mark.slow),
        pytest.param("I;16", (2 * GRAY,) * 3, marks=pytest.mark.slow),
    ],
)
def test_a_large_image_keeps_its_color_and_its_side(look, mode, color):
    two = Image.new("RGB", (2, 2), RED)
    two.paste((0, 0, 0), (0, 0, 2, 1))
    two = two.quantize(2) if mode == "P" else two.convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        two = Image.fromarray(np.asarray(two).astype(np.uint16) * (2 * 257))
    large = two.resize((LARGE_SIDE, LARGE_SIDE), Image.Resampling.NEAREST)
    cells = look(encoded(large, "PNG", exif=oriented(6), compress_level=1))
    assert_color(cells[:, 2:], 0)  # the top lies right
    assert_color(cells[:, :2], color)


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_what_is_shrunk_is_averaged(look, resize):
    stripes = np.zeros((128, 128, 3), dtype=np.uint8)
    stripes[::2] = 255
    assert_color(look(stripes, resize=resize), (128, 128, 128), within=16)


@pytest.mark.parametrize(
    "bomb",
    [
        png(100_000, 100_000, (b"IDAT", zlib.compress(b""))),
        b"P6 100000 100000 255\n",
        b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02L\x01\x00;",
        b"BM" + struct.pack("<IIIIiiHHIIIIII", 60, 0, 54, 40, 50_000, 50_000, 1, 24, *[0] * 6),
    ],
    ids=["PNG", "PPM", "GIF", "BMP"],
)
def test_a_bomb_is_refused_by_its_header(reasons, bomb):
    # Decoding would have to complain of the missing pixels instead.
    assert "too many pixels" in reasons(bomb)["X[0]"]


def test_metadata_that_inflate_without_end_are_refused(reasons):
    text = b"Comment\0\0" + zlib.compress(bytes(10_000_000))
    assert len(text) < 10_100
    pixels = (b"IDAT", zlib.compress(bytes(13)))
    assert "too large" in reasons(png(2, 2, (b"zTXt", text), pixels))["X[0]"]


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    packed = (b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments)
    return jpeg[:2] + b"".join(packed) + jpeg[2:]


def test_a_megabyte_of_exif_does_not_hide_the_picture(look):
    jpeg = encoded(solid("RGB"), "JPEG")
    exif = b"Exif\0\0II*\0\x08\0\0\0" + bytes(65_000)
    assert_color(look(with_segments(jpeg, *[exif] * 16)), RED)


@pytest.mark.parametrize(
    "exif", [b"II*\0\x08", b"II*\0", b"", b"\xff" * 40, b"MM\0*\0\0\0\x08\xff"]
)
def test_damaged_exif_neither_hides_the_picture_nor_warns(look, exif):
    # With a resolution of its own Pillow reads EXIF only when it is asked for it.
    for jpeg in (encoded(solid("RGB"), "JPEG"), encoded(solid("RGB"), "JPEG", dpi=(72, 72))):
        assert_color(look(with_segments(jpeg, b"Exif\0\0" + exif)), RED)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"not an image", "not an image"),
        (b"%PDF-1.4", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not an image"),
        (encoded(solid("RGB"), "EPS"), "not an image"),
        (encoded(solid("RGB"), "PNG")[:60], "Pillow cannot decode it: "),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "not an image"),
        (
            png(2, 1, (b"IDAT", zlib.compress(bytes(3))), color_type=3),
            "damaged or cut short",
        ),  # no palette
        (Image.new("RGB", (0, 5)), "no pixels: its size is 0 x 5"),
    ],
)
def test_what_is_no_picture_has_a_reason(reasons, data, reason):
    assert reason in reasons(data)["X[0]"]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_photo_that_lacks_only_its_end_marker_has_all_its_pixels(look, mode, progressive):
    data = encoded(noise(mode), "JPEG", progressive=progressive)
    assert np.abs(look(data[:-2]) - look(data)).max() <= 1  # the whole one is decoded reduced


def noise(mode: str = "RGB") -> Image.Image:
    return Image.effect_noise((400, 400), 60).convert(mode)


def test_of_a_photo_whose_end_is_missing_the_rows_are_used_that_are_there(look):
    photo = noise()
    data = encoded(photo, "JPEG", quality=95)
    pixels, missing = decode_noting(data[: len(data) * 7 // 10], (400, 400))
    # Of the 25 rows of blocks of 16 by 16 pixels, 17 are whole.
    assert missing == "its end is missing; 68% of its rows are used"
    whole = decode(encoded(photo.crop((0, 0, 400, 272)), "JPEG", quality=95), (400, 400))
    assert np.abs(pixels.astype(int) - whole).mean() < 1
    assert decode_noting(data, (400, 400))[1] == ""


def test_what_is_missing_in_a_photo_is_the_reason_in_the_table(stand_in, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, mode in enumerate(("RGB", "L")):
        for j in range(3):
            solid(mode, size=(64, 64)).rotate(j).save(photos / f"{i}{j}.png")
    cut = encoded(noise(), "JPEG", quality=95)
    (photos / "cut.jpg").write_bytes(cut[: len(cut) * 7 // 10])

    for _ in range(2):  # the second time with the rows of the first in the cache
        featurizer = ResNetFeaturizer(weights=stand_in, input_shape=(32, 32))
        model = ImageFolderClusterer(2, featurizer=featurizer, random_state=0).fit(photos)
        missing = "its end is missing; 68% of its rows are used"
        assert model.incomplete_ == {str(photos / "cut.jpg"): missing}
        assert model.unreadable_ == {}
    model.export(tmp_path / "out")
    table = (tmp_path / "out" / "clusters.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(table.splitlines())
    names = {Path(row["source_path"]).name: row["reason"] for row in rows}
    assert {name: reason for name, reason in names.items() if reason} == {"cut.jpg": missing}


def test_what_is_gray_in_a_photo_is_not_taken_for_missing():
    photo = noise()
    photo.paste((128, 128, 128), (350, 0, 400, 400))  # a gray edge at the right
    data = encoded(photo, "JPEG", quality=95)
    assert decode_noting(data[:-2], (40, 40))[1] == "its end is missing; all of its rows are used"
    assert "of its rows are used" in decode_noting(data[: len(data) * 6 // 10], (40, 40))[1]


def test_rows_that_are_there_in_part_do_not_count():
    data = encoded(noise().resize((64, 64)), "JPEG")
    told = decode_noting(data[: len(data) * 85 // 100], (40, 40))[1]
    assert told.startswith("its end is missing; ")
    assert "all" not in told
    low = encoded(noise().resize((640, 16)), "JPEG")
    with pytest.raises(DecodeError, match="its end is missing: only 0% of its rows are there"):
        decode(low[: len(low) * 85 // 100], (40, 40))


def test_gray_ground_is_there_if_hardly_more_than_the_end_marker_is_missing():
    photo = noise()
    photo.paste((128, 128, 128), (0, 100, 400, 400))
    data = encoded(photo, "JPEG")
    for n in (2, 3):
        assert re.search("(all|9.%) of its rows are used", decode_noting(data[:-n], (40, 40))[1])


def test_a_cut_photo_is_told_even_if_pillow_is_made_to_fill_it_in(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(noise(), "JPEG", quality=95)
    assert decode_noting(data, (40, 40))[1] == ""
    assert "68% of its rows" in decode_noting(data[: len(data) * 7 // 10], (40, 40))[1]


def test_a_photo_that_lacks_most_of_its_rows_is_refused(reasons):
    data = encoded(noise(), "JPEG", quality=95)
    told = reasons(data[: len(data) * 3 // 10])["X[0]"]
    assert told == "its end is missing: only 28% of its rows are there"


def test_damaged_exif_does_not_hide_an_avif(look):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    data = encoded(solid("RGB"), "AVIF", exif=exif)
    damaged = data.replace(exif.tobytes()[6:10], b"XXXX")
    assert damaged != data
    assert_color(look(damaged), RED, within=6)


def heic_in(folder: Path) -> Path:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the heif extra is not installed")
    pillow_heif.register_heif_opener()
    path = folder / "photo.HEIC"
    path.write_bytes(encoded(solid("RGB"), "HEIF"))
    return path


def test_heic_is_read_with_the_extra(look, tmp_path):
    path = heic_in(tmp_path)
    assert find_images(tmp_path) == [path]
    assert_color(look(path), RED, within=6)


@pytest.mark.slow
def test_heic_is_refused_without_the_extra_by_its_name(stand_in, tmp_path):
    program = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from resnet_kmeans import ResNetFeaturizer\n"
        "try: ResNetFeaturizer(weights=sys.argv[1], cache=None).transform(sys.argv[2:])\n"
        "except ValueError as error: print(*error.reasons.values())"
    )
    run = [sys.executable, "-c", program, str(stand_in), str(heic_in(tmp_path))]
    told = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert "pip install 'resnet-kmeans[heif]'" in told


def test_an_image_in_memory_stays_as_it_is(look):
    image = Image.new("RGBA", (40, 20), (*RED, 100))
    before = image.tobytes()
    look(image)
    assert (image.size, image.mode, image.tobytes()) == ((40, 20), "RGBA", before)


def test_a_photo_in_memory_that_is_still_to_be_read_keeps_its_pixels(look):
    photo = Image.open(io.BytesIO(encoded(solid("RGB", size=(640, 480)), "JPEG")))
    look(photo)
    assert photo.size == (640, 480)
    assert np.asarray(photo).shape == (480, 640, 3)


def test_of_large_images_one_is_decoded_at_a_time(reasons, monkeypatch):
    at_once, most = [], []

    def load(image):
        at_once.append(image)
        time.sleep(0.01)  # long enough for another thread to come in
        most.append(len(at_once))
        at_once.pop()
        raise OSError("enough seen")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    for side, alone in ((LARGE_SIDE, True), (LARGE_SIDE // 2, False)):
        most.clear()
        headers = [png(side, side + i, (b"IDAT", b"")) for i in range(8)]
        assert len(reasons(*headers)) == 8
        # With one core there is one thread, whatever the size.
        assert (max(most) == 1) is (alone or joblib.cpu_count() == 1)


@pytest.mark.parametrize("error", [AttributeError("'NoneType' object"), struct.error("short")])
def test_whatever_a_decoder_of_pillow_raises_is_a_reason(reasons, monkeypatch, error):
    def load(self):
        raise error

    data = encoded(Image.new("RGB", (4, 4)), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert str(error) in reasons(data)["X[0]"]


def test_one_image_that_is_still_to_be_read_can_be_decoded_by_many_threads(look):
    data = encoded(Image.effect_noise((500, 500), 50).convert("RGB"), "PNG")
    expected = look(data)
    for _ in range(5):
        lazy = Image.open(io.BytesIO(data))
        results = []
        work = [
            threading.Thread(target=lambda i=lazy, r=results: r.append(look(i))) for _ in range(8)
        ]
        [thread.start() for thread in work]
        [thread.join() for thread in work]
        assert len(results) == 8
        assert all((result == expected).all() for result in results)


SEEDS = [
    *(encoded(solid(mode, size=(9, 7)), "PNG") for mode in ("RGB", "P", "LA", "1")),
    *(encoded(solid(mode, size=(9, 7)), "TIFF") for mode in ("RGB", "LAB", "CMYK", "F")),
    *(encoded(solid("RGB", size=(9, 7)), "TIFF", compression=c) for c in ("tiff_lzw", "jpeg")),
    *(encoded(solid("RGB", size=(9, 7)), f) for f in ("JPEG", "GIF", "BMP", "WEBP", "TGA")),
    *(encoded(solid("RGB", size=(16, 16)), f) for f in ("ICO", "JPEG2000", "AVIF", "PPM")),
]


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=12),
    length=st.integers(8, 1000),
)
def test_a_damaged_file_is_a_picture_or_has_a_reason(stand_in, seed, edits, length):
    data = bytearray(seed)
    for place, value in edits:
        data[place % len(data)] = value
    params = {"input_shape": (32, 32), "cache": None, "unreadable": "nan"}
    featurizer = ResNetFeaturizer(weights=stand_in, **params)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        (row,) = featurizer.transform([bytes(data[:length])])
    assert np.isfinite(row).all() == (not told)
    assert {warning.category for warning in told} <= {UnreadableImagesWarning}


# --- Finding


def test_files_are_found_in_natural_order_by_extension_in_any_case(tmp_path):
    names = ["img10.jpg", "img2.JPG", "IMG1.Jpeg", "a/9.webp", "a/10.TIFF", "b.PNG", "2024.j2k"]
    for name in [*names, "notes.txt", "jpg", "x.jpg.bak", ".hidden.jpg", ".git/x.jpg", "._x.jpg"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in find_images(str(tmp_path))]
    flat = ["2024.j2k", "b.PNG", "IMG1.Jpeg", "img2.JPG", "img10.jpg"]
    assert found == [flat[0], "a/9.webp", "a/10.TIFF", *flat[1:]]
    assert [path.name for path in find_images(tmp_path, recursive=False)] == flat


def test_the_order_is_the_same_whatever_the_file_system_lists_first(tmp_path):
    numbers = ["1", "01", "001", "0001", "00001"]
    names = [f"{a}{b}{n}.png" for a in "xX" for b in "yY" for n in numbers]
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in find_images(tmp_path)] == sorted(names)


def test_a_folder_comes_whole_before_the_next(tmp_path):
    names = ["a/1.png", "a/2.png", "a b/1.png", "a.b/1.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)] == names


def test_all_that_is_in_an_exported_folder_is_passed_over(tmp_path, photo):
    export_clusters([photo], [0], tmp_path / "more" / "out")
    assert (tmp_path / "more" / "out" / JOURNAL_OF_AN_EXPORT).is_file()
    photo.rename(tmp_path / "more" / "out" / "at_its_root.jpg")
    (tmp_path / "more" / "mine.png").touch()
    assert find_images(tmp_path) == [tmp_path / "more" / "mine.png"]


@pytest.mark.parametrize(
    ("format", "extensions"),
    [
        ("AVIF", [".avif"]),
        ("BMP", [".bmp", ".dib"]),
        ("GIF", [".gif"]),
        ("ICO", [".ico"]),
        ("JPEG", [".jfif", ".jpe", ".jpeg", ".jpg"]),
        ("JPEG2000", [".jp2"]),
        ("MPO", [".mpo"]),
        ("PNG", [".png"]),
        ("PPM", [".pnm", ".ppm"]),
        ("TGA", [".tga"]),
        ("TIFF", [".tif", ".tiff"]),
        ("WEBP", [".webp"]),
    ],
)
def test_every_usual_extension_is_found_and_read(look, tmp_path, format, extensions):
    for extension in extensions:
        (tmp_path / f"x{extension}").write_bytes(encoded(solid("RGB"), format))
    found = find_images(tmp_path)
    assert sorted(path.suffix for path in found) == extensions
    for path in found:
        assert_color(look(path), RED, within=6)


@pytest.mark.parametrize("there", ["nowhere", "file"])
def test_what_is_no_folder_is_refused(tmp_path, there):
    (tmp_path / "file").touch()
    with pytest.raises(FolderNotFoundError, match=rf"{there}.*not a folder"):
        find_images(tmp_path / there)


def test_a_path_takes_little_memory(tmp_path):
    for i in range(500):
        (tmp_path / f"photo_{i:05d}.jpg").touch()
    find_images(tmp_path)  # what the first call leaves in caches is no path's
    tracemalloc.start()
    found = find_images(tmp_path)
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # On Linux, 0.3 KB are kept for a path of 40 characters; sorting takes 1.4 KB.
    assert kept / len(found) < 600
    assert most / len(found) < 2500


def test_links_in_a_circle_end(reasons, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").write_bytes(encoded(solid("RGB"), "PNG"))
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    (tmp_path / "in" / "round.jpg").symlink_to("round.jpg")
    (tmp_path / "in" / "broken.jpg").symlink_to("nowhere")
    (tmp_path / "in" / "link.jpg").symlink_to("x.png")
    paths = find_images(tmp_path)
    assert len(paths) == 4
    why = {Path(path).name: reason for path, reason in reasons(*paths).items()}
    assert set(why) == {"broken.jpg", "round.jpg"}
    assert "no such file (a broken link" in why["broken.jpg"]
    assert "symbolic links" in why["round.jpg"]


def test_what_is_no_file_has_a_reason_and_hangs_nothing(reasons, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo.jpg")
    Path("folder.jpg").mkdir()
    Path("empty.jpg").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        why = reasons(*os.listdir(), "gone.jpg", "nul\0l.jpg")
    assert why["fifo.jpg"] == "not a regular file"
    assert why["folder.jpg"] == "cannot be read: Is a directory"
    assert why["socket.jpg"].startswith("cannot be read: No such device")
    assert why["empty.jpg"] == "the file is empty"
    assert why["gone.jpg"].startswith("no such file")
    assert "null" in why["nul\0l.jpg"]
    assert [path.name for path in find_images(".")] == ["empty.jpg", "fifo.jpg", "socket.jpg"]


@pytest.mark.parametrize(
    "name", ["new\nline.png", "quo\"te'.png", "🦊.png", "\udcff\udcfe.png", "é" * 125 + ".jpeg"]
)
def test_any_name_is_found_and_read(look, tmp_path, name):
    (tmp_path / name).write_bytes(encoded(solid("RGB"), "PNG"))
    (path,) = find_images(tmp_path)
    assert path.name == name
    assert_color(look(path), RED)


def test_a_file_beyond_the_limit_is_refused_unread(reasons, tmp_path):
    path = tmp_path / "huge.tif"
    with open(path, "wb") as file:
        file.truncate(2**30 + 1)  # sparse
    assert "larger than 1 GiB" in reasons(path)[str(path)]


def test_what_may_not_be_read_is_told(reasons, tmp_path, stand_in, without_rights):
    (tmp_path / "photos" / "closed").mkdir(parents=True)
    for name in ("photos/open.png", "photos/shut.png", "photos/closed/x.png"):
        (tmp_path / name).write_bytes(encoded(solid("RGB"), "PNG"))
    (tmp_path / "photos" / "shut.png").chmod(0)
    (tmp_path / "photos" / "closed").chmod(0)
    stand_in.parent.chmod(0o755)
    reasons(tmp_path / "photos" / "open.png")  # imports what may lie where only root can read
    without_rights()
    with pytest.warns(UserWarning, match=r"closed.* cannot be listed .*Permission") as warned:
        found = find_images(tmp_path / "photos")
    assert warned[0].filename == __file__
    shut = str(tmp_path / "photos" / "shut.png")
    assert reasons(*found) == {shut: "cannot be read: Permission denied"}

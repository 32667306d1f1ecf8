"""From a folder to pixels: what is found, what becomes which RGB, what is refused why."""

import contextlib
import io
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from resnet_kmeans.exceptions import DecodeError, FolderNotFoundError
from resnet_kmeans.images import decoding
from resnet_kmeans.images.decoding import (
    FORMATS,
    LARGE_PIXELS,
    PAD_COLOUR,
    decode,
    open_upright,
    read_file,
    reason_unreadable,
)
from resnet_kmeans.images.finding import EXPORT_JOURNAL, IMAGE_EXTENSIONS, find_images

PILLOW = int(PIL.__version__.split(".")[0])
RED = (200, 40, 90)
GREY = 93  # of RED, as ITU-R 601-2 weighs the channels
WHITE = (255, 255, 255)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def solid(mode: str, colour=RED, size=(32, 32)) -> Image.Image:
    image = Image.new("RGB", size, colour)
    return image.quantize(4) if mode == "P" else image.convert(mode)


def png(width: int, height: int, *chunks: tuple[bytes, bytes], colour_type: int = 2) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IEND", b"")]
    sums = [zlib.crc32(kind + data) for kind, data in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)
        for (kind, data), crc in zip(parts, sums)
    )


def assert_colour(pixels: np.ndarray, colour, within: int = 3) -> None:
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - colour).max() <= within


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
def test_every_format_and_mode_keeps_its_colour(format, modes):
    for mode in modes:
        assert_colour(decode(encoded(solid(mode), format), (32, 32)), RED, within=6)


@pytest.mark.parametrize(
    ("format", "mode"),
    [*(("JPEG", "L"), ("PNG", "L"), ("PNG", "LA"), ("TIFF", "L"), ("PPM", "L"), ("BMP", "L"))],
)
def test_grey_becomes_equal_red_green_and_blue(format, mode):
    assert_colour(decode(encoded(solid(mode), format), (32, 32)), (GREY,) * 3)


def test_black_and_white_stays_black_and_white():
    half = Image.new("1", (32, 32))
    half.paste(1, (16, 0, 32, 32))
    for format in ("PNG", "TIFF", "BMP", "PPM"):
        pixels = decode(encoded(half, format), (32, 32))
        assert (pixels[:, :15] == 0).all()
        assert (pixels[:, 17:] == 255).all()


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(format):
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    pixels = decode(encoded(Image.fromarray(ramp), format), (32, 32))
    assert np.abs(pixels[..., 0].astype(int) - ramp / 257).max() <= 1


def test_float_and_wide_integers_span_their_own_range():
    ramp = np.linspace(-2, 6, 32 * 32).reshape(32, 32)
    ramp_32 = ((ramp + 2) * 1e8).astype(np.int32)
    ramp[0, 0] = np.nan
    for values in (ramp.astype(np.float32), ramp_32):
        pixels = decode(encoded(Image.fromarray(values), "TIFF"), (32, 32))
        assert pixels[0, 1, 0] <= 1 or values is not ramp_32
        assert pixels[-1, -1, 0] == 255
        assert np.abs(pixels[16, 0, 0].astype(int) - 128) <= 1


def test_twelve_bits_in_tiff_reach_white():
    packed = bytes([0xFF, 0xFF, 0xFF]) * (32 * 32 // 2)
    tags = [(256, 32), (257, 32), (258, 12), (259, 1), (262, 1), (273, 8 + 2 + 9 * 12 + 4)]
    tags += [(277, 1), (278, 32), (279, len(packed))]
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    data = head + entries + struct.pack("<I", 0) + packed
    assert_colour(decode(data, (32, 32)), WHITE)


@pytest.mark.parametrize(
    "mode",
    [
        *("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA"),
        *("RGBX", "RGBa", "La", "I;16", "I;16L", "I;16B", "I;16N"),
    ],
)
def test_every_mode_of_pillow_becomes_rgb(mode):
    assert decode(Image.new(mode, (5, 7)), (32, 32)).shape == (32, 32, 3)


def test_what_is_transparent_is_white():
    for mode, format in (("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF")):
        clear = Image.new(mode, (32, 32), (0,) * len(mode))
        assert_colour(decode(encoded(clear, format), (32, 32)), WHITE)
    half = Image.new("RGBA", (32, 32), (*RED, 128))
    expected = [(channel + 255) / 2 for channel in RED]
    assert_colour(decode(encoded(half, "PNG"), (32, 32)), expected)


@pytest.mark.parametrize(
    ("mode", "clear"), [("P", 0), ("L", 0), ("RGB", (0, 0, 0)), ("I;16", 0), ("1", 0)]
)
def test_a_colour_marked_as_transparent_is_white(mode, clear):
    data = encoded(Image.new(mode, (32, 32)), "PNG", transparency=clear)
    assert_colour(decode(data, (32, 32)), WHITE)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(format):
    later = [solid("RGB", (0, 0, 255)), solid("RGB", (0, 255, 0))]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(solid("RGB"), format, save_all=True, append_images=later, **options)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 3
    assert_colour(decode(data, (32, 32)), RED)


STORED = {  # how a picture is turned so that each EXIF orientation sets it upright
    **{1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180},
    **{4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE},
    **{6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE},
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_is_set_upright(format, orientation):
    upright = Image.new("RGB", (64, 32), RED)
    upright.paste((20, 200, 40), (0, 0, 32, 16))
    upright.paste((30, 60, 220), (0, 16, 32, 32))
    turn = STORED[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if format in ("JPEG", "WEBP") else {}
    data = encoded(stored, format, exif=exif, **options)
    for source in (data, Image.open(io.BytesIO(data))):
        pixels = decode(source, (32, 64))
        for y, x, colour in ((8, 16, (20, 200, 40)), (24, 16, (30, 60, 220)), (16, 48, RED)):
            assert np.abs(pixels[y, x].astype(int) - colour).max() <= 6


def test_a_photo_on_its_side_is_not_drafted_below_the_asked_size():
    rows = np.arange(480) // 4 % 2 * 255  # upright, columns: 60 pairs of stripes side by side
    stored = Image.fromarray(np.repeat(rows[:, None], 4800, axis=1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # upright it is 480 wide, 4800 high
    pixels = decode(encoded(stored, "JPEG", exif=exif, quality=95), (32, 400))
    assert pixels.shape == (32, 400, 3)
    assert pixels[16].std() > 80


def test_stretch_crop_and_pad_keep_what_they_promise():
    wide = Image.new("RGB", (96, 32), RED)
    wide.paste((0, 0, 0), (0, 0, 24, 32))
    wide.paste((0, 0, 0), (72, 0, 96, 32))
    assert (decode(wide, (32, 32), "stretch")[:, 0] == 0).all()
    assert_colour(decode(wide, (32, 32), "crop"), RED)
    padded = decode(wide, (32, 32), "pad")
    assert (padded[:10] == PAD_COLOUR).all()
    assert (padded[-10:] == PAD_COLOUR).all()
    assert np.abs(padded[16, 16].astype(int) - RED).max() <= 3
    assert (padded[16, 2] == 0).all()


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 60_000), (60_000, 1), (3, 2)])
def test_a_strip_or_a_dot_is_an_image_too(size, resize):
    pixels = decode(encoded(Image.new("RGB", size, RED), "PNG"), (32, 32), resize)
    assert np.abs(pixels[15:17, 15:17].astype(int) - RED).max(axis=2).min() <= 3


@pytest.mark.parametrize(
    ("mode", "colour"), [("P", RED), ("RGB", RED), ("L", (GREY,) * 3), ("I;16", (GREY,) * 3)]
)
def test_a_large_image_keeps_its_colour_and_its_side(mode, colour):
    side = int(LARGE_PIXELS**0.5) + 200
    two = Image.new("RGB", (2, 2), RED)
    two.paste((0, 0, 0), (0, 0, 2, 1))
    two = two.quantize(2) if mode == "P" else two.convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        two = Image.fromarray(np.asarray(two).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    large = two.resize((side, side), Image.Resampling.NEAREST)
    pixels = decode(encoded(large, "PNG", exif=exif, compress_level=1), (32, 32))
    assert (pixels[:, 18:] == 0).all()  # the top lies right
    assert np.abs(pixels[:, :14].astype(int) - colour).max() <= 3


def test_a_photo_of_twice_the_asked_size_is_decoded_whole():
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    data = encoded(noise, "JPEG", quality=95)
    whole = Image.open(io.BytesIO(data)).resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(decode(data, (32, 32)), np.asarray(whole))


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_what_is_shrunk_is_averaged(resize):
    stripes = np.zeros((128, 128, 3), dtype=np.uint8)
    stripes[::2] = 255
    assert_colour(decode(stripes, (32, 32), resize), (128, 128, 128), within=16)


def test_a_large_image_is_not_reduced_below_the_asked_size():
    large = Image.new("L", (2 * 3000, 2 * 3000 + 99))
    assert min(open_upright(large, (3000, 3000)).size) == 3000


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
def test_a_bomb_is_refused_by_its_header(bomb):
    # Decoding would have to complain of the missing pixels instead.
    with pytest.raises(DecodeError, match=r"too many pixels.*\d+ pixels.*limit of \d+"):
        decode(bomb, (32, 32))


def test_metadata_that_inflate_without_end_are_refused():
    text = b"Comment\0\0" + zlib.compress(bytes(100_000_000))
    assert len(text) < 100_100
    pixels = (b"IDAT", zlib.compress(bytes(13)))
    with pytest.raises(DecodeError, match="too large"):
        decode(png(2, 2, (b"zTXt", text), pixels), (32, 32))


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    packed = (b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments)
    return jpeg[:2] + b"".join(packed) + jpeg[2:]


def test_a_megabyte_of_exif_does_not_hide_the_picture():
    jpeg = encoded(solid("RGB"), "JPEG")
    exif = b"Exif\0\0II*\0\x08\0\0\0" + bytes(65_000)
    assert_colour(decode(with_segments(jpeg, *[exif] * 16), (32, 32)), RED)


@pytest.mark.parametrize(
    "exif", [b"II*\0\x08", b"II*\0", b"", b"\xff" * 40, b"MM\0*\0\0\0\x08\xff"]
)
def test_damaged_exif_does_not_hide_the_picture(exif):
    # With a resolution of its own Pillow reads EXIF only when it is asked for it.
    for jpeg in (encoded(solid("RGB"), "JPEG"), encoded(solid("RGB"), "JPEG", dpi=(72, 72))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert_colour(decode(with_segments(jpeg, b"Exif\0\0" + exif), (32, 32)), RED)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an image"),
        (b"not an image", "not an image"),
        (b"%PDF-1.4", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not an image"),
        (encoded(solid("RGB"), "EPS"), "not an image"),
        (encoded(solid("RGB"), "PNG")[:60], "damaged"),
        (encoded(solid("RGB"), "JPEG")[:-40], "damaged: OSError: .*[Tt]runcated"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "not an image"),
        (png(2, 1, (b"IDAT", zlib.compress(bytes(3))), colour_type=3), "damaged"),  # no palette
        (Image.new("RGB", (0, 5)), "it has no pixels: its size is 0 x 5"),
    ],
)
def test_what_is_no_picture_has_a_reason(data, reason):
    with pytest.raises(DecodeError, match=reason):
        decode(data, (32, 32), "pad")


def test_heic_is_read_with_the_extra_and_refused_by_its_name_without(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="the heif extra is not installed")
    pillow_heif.register_heif_opener()
    path = tmp_path / "photo.HEIC"
    path.write_bytes(encoded(solid("RGB"), "HEIF"))
    assert find_images(tmp_path) == [path]
    assert_colour(decode(path.read_bytes(), (32, 32)), RED, within=6)
    code = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from resnet_kmeans.images.decoding import reason_unreadable\n"
        "print(reason_unreadable(sys.argv[1]))"
    )
    run = [sys.executable, "-c", code, str(path)]
    told = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert told == "HEIC needs the heif extra: pip install 'resnet-kmeans[heif]'\n"


def test_an_image_in_memory_stays_as_it_is():
    image = Image.new("RGBA", (40, 20), (*RED, 100))
    before = image.tobytes()
    decode(image, (32, 32))
    assert (image.size, image.mode, image.tobytes()) == ((40, 20), "RGBA", before)


def test_a_photo_in_memory_that_is_still_to_be_read_keeps_its_pixels():
    photo = Image.open(io.BytesIO(encoded(solid("RGB", size=(640, 480)), "JPEG")))
    decode(photo, (32, 32))
    assert photo.size == (640, 480)
    assert np.asarray(photo).shape == (480, 640, 3)


def test_of_large_images_one_is_decoded_at_a_time(monkeypatch):
    at_once, most = [], []

    def load(image, draft_size):
        at_once.append(image)
        time.sleep(0.01)  # long enough for another thread to come in
        most.append(len(at_once))
        at_once.pop()
        return Image.new("RGB", (4, 4))

    monkeypatch.setattr(decoding, "_load", load)
    file = io.BytesIO()
    Image.new("RGB", (40, 40)).save(file, "PNG")
    for limit, alone in ((40 * 40 - 1, True), (40 * 40, False)):
        monkeypatch.setattr(decoding, "LARGE_PIXELS", limit)
        most.clear()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: decode(file.getvalue(), (4, 4)), range(8)))
        assert (max(most) == 1) is alone


@pytest.mark.parametrize("error", [AttributeError("'NoneType' object"), struct.error("short")])
def test_whatever_a_decoder_of_pillow_raises_is_a_reason(monkeypatch, error):
    def load(self):
        raise error

    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(DecodeError, match=f"damaged: {type(error).__name__}: {error}"):
        decode(file.getvalue(), (4, 4))


def test_one_image_that_is_still_to_be_read_can_be_decoded_by_many_threads():
    data = encoded(Image.effect_noise((500, 500), 50).convert("RGB"), "PNG")
    expected = decode(data, (32, 32))
    for _ in range(5):
        lazy = Image.open(io.BytesIO(data))
        results = []
        work = [
            threading.Thread(target=lambda i=lazy, r=results: r.append(decode(i, (32, 32))))
            for _ in range(8)
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


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=12),
    length=st.integers(8, 1000),
)
def test_a_damaged_file_is_a_picture_or_has_a_reason(seed, edits, length):
    data = bytearray(seed)
    for place, value in edits:
        data[place % len(data)] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(DecodeError):
            assert decode(bytes(data[:length]), (32, 32)).shape == (32, 32, 3)


def test_files_are_found_in_natural_order_by_extension_in_any_case(tmp_path):
    names = ["img10.jpg", "img2.JPG", "IMG1.Jpeg", "a/9.webp", "a/10.TIFF", "b.PNG"]
    for name in [*names, "notes.txt", "jpg", "x.jpg.bak", ".hidden.jpg", ".git/x.jpg", "._x.jpg"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in find_images(str(tmp_path))]
    assert found == ["a/9.webp", "a/10.TIFF", "b.PNG", "IMG1.Jpeg", "img2.JPG", "img10.jpg"]
    flat = [path.name for path in find_images(tmp_path, recursive=False)]
    assert flat == ["b.PNG", "IMG1.Jpeg", "img2.JPG", "img10.jpg"]


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


def test_all_that_is_in_an_exported_folder_is_passed_over(tmp_path):
    for name in ("mine.png", "out/at_its_root.png", "out/cluster_0/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "out" / EXPORT_JOURNAL).touch()
    assert find_images(tmp_path) == [tmp_path / "mine.png"]


def test_every_listed_extension_is_found(tmp_path):
    for extension in IMAGE_EXTENSIONS:
        (tmp_path / f"x{extension}").touch()
    assert len(find_images(tmp_path)) == len(IMAGE_EXTENSIONS)


def test_every_listed_extension_is_one_of_an_accepted_format():
    known = Image.registered_extensions()
    for extension in set(IMAGE_EXTENSIONS) - {".heic", ".heif"}:  # the extra's
        assert known[extension] in FORMATS


@pytest.mark.parametrize("there", ["nowhere", "file"])
def test_what_is_no_folder_is_refused(tmp_path, there):
    (tmp_path / "file").touch()
    with pytest.raises(FolderNotFoundError, match=rf"got .*{there}', which is not a folder"):
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


def test_links_in_a_circle_end(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").write_bytes(encoded(solid("RGB"), "PNG"))
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    (tmp_path / "in" / "round.jpg").symlink_to("round.jpg")
    (tmp_path / "in" / "broken.jpg").symlink_to("nowhere")
    (tmp_path / "in" / "link.jpg").symlink_to("x.png")
    found = {path.name: reason_unreadable(path) for path in find_images(tmp_path)}
    assert found["x.png"] is found["link.jpg"] is None
    assert "no such file (broken link" in found["broken.jpg"]
    assert "symbolic links" in found["round.jpg"]
    assert len(found) == 4


def test_what_is_no_file_has_a_reason_and_hangs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo.jpg")
    Path("folder.jpg").mkdir()
    Path("empty.jpg").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        reasons = {name: reason_unreadable(name) for name in os.listdir()}
    assert reasons["fifo.jpg"] == "not a regular file"
    assert reasons["folder.jpg"] == "cannot be read: Is a directory"
    assert reasons["socket.jpg"].startswith("cannot be read: No such device")
    assert reasons["empty.jpg"] == "the file is empty"
    assert [path.name for path in find_images(".")] == ["empty.jpg", "fifo.jpg", "socket.jpg"]
    assert reason_unreadable("gone.jpg").startswith("no such file")
    assert "null" in reason_unreadable("nul\0l.jpg")


@pytest.mark.parametrize(
    "name", ["new\nline.png", "quo\"te'.png", "🦊.png", "\udcff\udcfe.png", "é" * 125 + ".jpeg"]
)
def test_any_name_is_found_and_read(tmp_path, name):
    (tmp_path / name).write_bytes(encoded(solid("RGB"), "PNG"))
    (path,) = find_images(tmp_path)
    assert path.name == name
    assert_colour(decode(read_file(path), (32, 32)), RED)


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path):
    path = tmp_path / "huge.tif"
    with open(path, "wb") as file:
        file.truncate(2**30 + 1)  # sparse
    assert reason_unreadable(path) == "the file is larger than 1 GiB"


def test_what_may_not_be_read_is_told(tmp_path, without_rights):
    (tmp_path / "photos" / "closed").mkdir(parents=True)
    for name in ("photos/open.png", "photos/shut.png", "photos/closed/x.png"):
        (tmp_path / name).write_bytes(encoded(solid("RGB"), "PNG"))
    (tmp_path / "photos" / "shut.png").chmod(0)
    (tmp_path / "photos" / "closed").chmod(0)
    without_rights()
    with pytest.warns(
        UserWarning, match=r"closed' cannot be listed \(Permission denied\)"
    ) as warned:
        found = find_images(tmp_path / "photos")
    assert warned[0].filename == __file__
    reasons = {path.name: reason_unreadable(path) for path in found}
    assert reasons == {"open.png": None, "shut.png": "cannot be read: Permission denied"}

"""Converts images of any Pillow mode to RGB."""

import numpy as np
from PIL import ExifTags, Image


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode as RGB, with transparent parts in white."""
    # Pillow clips wide gray values at 255, so that most 16-bit images would turn white.
    if image.mode.startswith(("I", "F")):
        image = _to_8bit(image)
    if image.has_transparency_data:
        # Pillow converts premultiplied gray ("La") only to "LA".
        image = image.convert("LA") if image.mode == "La" else image
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _to_8bit(image: Image.Image) -> Image.Image:
    """Scale wide gray values to the range 0 to 255."""
    values = np.array(image, dtype=np.float32)
    low, high = 0.0, float(_white(image))
    # The white of float images, and of integers beyond 16 bits, is unknown: the range of values
    # in the image is stretched instead.
    if image.mode == "F" or values.max() > high:
        values[~np.isfinite(values)] = 0
        low, high = float(values.min()), float(values.max())
    clear = image.info.get("transparency")
    is_clear = values == clear if isinstance(clear, int) else False
    values -= low
    values *= 255 / max(high - low, 1e-9)
    np.clip(values, 0, 255, out=values)
    values[is_clear] = 255
    return Image.fromarray(values.astype(np.uint8))


def _white(image: Image.Image) -> int:
    """Return the largest gray value that the file of an image can hold."""
    # A TIFF file may store 12 bits per value, so that 4095 is white.
    bits = getattr(image, "tag_v2", {}).get(ExifTags.Base.BitsPerSample, (16,))[0]
    return int(2 ** min(bits, 16)) - 1

"""Takes arrays in memory as image files of their kind are taken."""

import numpy as np
from PIL import Image

GRAY = "bfu"  # kinds of numbers that one channel may have: bool, float, unsigned of 8 or 16 bits


def image_of(array: np.ndarray) -> Image.Image:
    """Return an array that `is_image_array` as a PIL image: L, LA, RGB, RGBA, I;16 or F.

    Floats are gray values in a range of their own, as in a TIFF file of floats; booleans are
    black and white.
    """
    pixels = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if pixels.dtype.kind == "b":
        pixels = 255 * pixels.astype(np.uint8)
    elif pixels.dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond float32 is infinite, as in a file of float64
            pixels = pixels.astype(np.float32)
    return Image.fromarray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False))


def is_image_array(array: np.ndarray) -> bool:
    """Return whether an array has the shape and the type of an image.

    That is (height, width) or (height, width, 1) of uint8, uint16, floats or bool, or
    (height, width, 2 to 4) of uint8.
    """
    if not array.size or array.ndim not in (2, 3):
        return False
    if array.ndim == 3 and array.shape[2] != 1:
        return array.dtype == np.uint8 and array.shape[2] <= 4
    return array.dtype.kind in GRAY and (array.dtype.kind != "u" or array.dtype.itemsize <= 2)


def how_to_convert(array: np.ndarray) -> str:
    """Return how an array that is no `is_image_array` becomes one; empty if nobody can tell."""
    if not array.size or array.ndim not in (2, 3) or array.dtype.kind not in "iuf":
        return ""
    if array.ndim == 3 and array.shape[2] > 4:
        is_first = array.shape[0] <= 4
        return "Put the channels last: numpy.moveaxis(image, 0, -1)." if is_first else ""
    if array.dtype.kind == "f":
        return (
            "Convert colors from 0 to 1 with (255 * image).round().astype('uint8'), colors from "
            "0 to 255 with image.round().astype('uint8')."
        )
    if array.dtype == np.uint16:
        return "Convert colors from 0 to 65535 with (image // 257).astype('uint8')."
    return "Convert values from 0 to 255 with image.astype('uint8')."

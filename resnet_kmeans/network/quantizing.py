"""Quantizes a compiled network to int8 with NNCF."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans.exceptions import ExtraNotInstalledError
from resnet_kmeans.images import decode
from resnet_kmeans.network.telemetry import import_nncf

PHOTOS = ("china.jpg", "flower.jpg")  # shipped with scikit-learn, so on every machine
N_CROPS, N_DRAWN = 32, 16  # crops per photo, synthetic images in all


def quantize(graph: Any, input_shape: tuple[int, int]) -> Any:
    """Return a graph quantized to int8.

    The result depends on the graph alone, so it is the same on every machine. Activations are
    calibrated on crops of scikit-learn's two photos and on synthetic images.

    Parameters
    ----------
    graph : openvino.Model
        Takes pixels of shape (batch, height, width, 3), dtype uint8.
    input_shape : tuple of int
        Height and width, in pixels.

    Raises
    ------
    ExtraNotInstalledError
        If NNCF is not installed.
    """
    try:
        nncf = import_nncf()
    except ImportError as error:
        raise ExtraNotInstalledError("nncf", "int8", 'what precision="int8" needs') from error
    logging.getLogger("nncf").setLevel(logging.ERROR)  # it logs every step
    pictures = calibration_pictures(input_shape)
    with contextlib.redirect_stdout(io.StringIO()):  # NNCF draws progress bars there
        return nncf.quantize(
            graph,
            nncf.Dataset([picture[None] for picture in pictures]),
            preset=nncf.QuantizationPreset.MIXED,  # activations after ReLU are never negative
            subset_size=len(pictures),
        )


def calibration_pictures(input_shape: tuple[int, int]) -> list[np.ndarray]:
    """Return the images to calibrate on, each of shape (height, width, 3), dtype uint8."""
    random = np.random.RandomState(0)  # NumPy guarantees its numbers never change
    crops = [crop for name in PHOTOS for crop in _crops(_photo(name), random)]
    drawn = [_draw(random) for _ in range(N_DRAWN)]
    return [decode(np.ascontiguousarray(image), input_shape) for image in crops + drawn]


def _photo(name: str) -> np.ndarray:
    from sklearn import datasets

    content = (Path(datasets.__file__).parent / "images" / name).read_bytes()
    return decode(content, (427, 640))  # its own size


def _crops(photo: np.ndarray, random: np.random.RandomState) -> list[np.ndarray]:
    crops = []
    for _ in range(N_CROPS):
        side = random.randint(64, min(photo.shape[:2]) + 1)
        top, left = (random.randint(0, length - side + 1) for length in photo.shape[:2])
        crop = photo[top : top + side, left : left + side]
        # Adds dark, faint and coloured light, which two photos by day lack.
        crops.append((crop * random.uniform(0.3, 1.0, size=3)).astype(np.uint8))
    return crops


def _draw(random: np.random.RandomState) -> np.ndarray:
    """Return an image of a few rectangles on a plain background."""
    image = np.empty((64, 64, 3), dtype=np.uint8)
    image[:] = random.randint(256, size=3)
    for _ in range(random.randint(1, 6)):
        top, left, height, width = random.randint(1, 48, size=4)
        image[top : top + height, left : left + width] = random.randint(256, size=3)
    return image

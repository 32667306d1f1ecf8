"""Quantizes a compiled network to int8 with NNCF."""

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans.exceptions import ExtraNotInstalledError
from resnet_kmeans.images import decode
from resnet_kmeans.network.libraries import import_nncf

PHOTOS = ("china.jpg", "flower.jpg")  # part of scikit-learn, so they are on every machine
N_CROPS = 64  # per photo
N_DRAWN, N_PASTED = 32, 32
MIN_CROP, PASTED_ON = 40, 96  # pixels


def quantize(graph: Any, input_shape: tuple[int, int]) -> Any:
    """Return a graph quantized to int8.

    The result depends only on the graph, and gives the same features on every processor.
    Activations are calibrated on crops of scikit-learn's two photos and on synthetic images.

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
        raise ExtraNotInstalledError("nncf", "int8", 'precision="int8"') from error
    logging.getLogger("nncf").setLevel(logging.ERROR)  # it logs every step
    pictures = calibration_pictures(input_shape)
    with contextlib.redirect_stdout(io.StringIO()):  # NNCF draws progress bars there
        return nncf.quantize(
            graph,
            nncf.Dataset([picture[None] for picture in pictures]),
            preset=nncf.QuantizationPreset.MIXED,  # activations after ReLU are never negative
            subset_size=len(pictures),
            # Depthwise convolutions are left out: they have few weights and little arithmetic,
            # but the ranges of their channels differ so much that int8 would cost
            # EfficientNet-Lite0 most of its accuracy. So is what reads the three colors, whose
            # errors all later layers inherit.
            ignored_scope=nncf.IgnoredScope(
                names=[op.get_friendly_name() for op in graph.get_ops() if _reads_colors(op)],
                types=["GroupConvolution"],
                validate=False,
            ),
            advanced_parameters=_parameters(nncf, graph),
        )


def _reads_colors(operation: Any) -> bool:
    is_convolution = operation.get_type_name() == "Convolution"
    return is_convolution and operation.get_input_partial_shape(0)[1] == 3


def _parameters(nncf: Any, graph: Any) -> Any:
    # A separate range per channel, NNCF's default before depthwise convolutions, fits the few
    # calibration images too closely: a channel that they hardly use saturates on other images.
    quantization = nncf.quantization
    one_range = quantization.advanced_parameters.QuantizationParameters(per_channel=False)
    given = {
        "activations_quantization_params": one_range,
        # Seven bits for weights: without VNNI, processors add pairs of products in 16 bits,
        # which saturate with eight.
        "overflow_fix": quantization.advanced_parameters.OverflowFix.ENABLE,
    }
    if any(operation.get_type_name() == "Clamp" for operation in graph.get_ops()):
        # ReLU6 bounds activations, so their extremes are not outliers. Without ReLU6, the
        # default, the mean of the maxima of single images, is more robust.
        given["activations_range_estimator_params"] = (
            quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
        )
    return nncf.AdvancedQuantizationParameters(**given)


def calibration_pictures(input_shape: tuple[int, int]) -> list[np.ndarray]:
    """Return the images to calibrate on, each of shape (height, width, 3), dtype uint8."""
    random = np.random.RandomState(0)  # NumPy guarantees that its numbers never change
    photos = [_photo(name) for name in PHOTOS]
    images = [_relight(_crop(photo, random), random) for photo in photos for _ in range(N_CROPS)]
    images += [_draw(random) for _ in range(N_DRAWN)]
    images += [_paste(photos[number % 2], random) for number in range(N_PASTED)]
    return [decode(np.ascontiguousarray(image), input_shape) for image in images]


def _photo(name: str) -> np.ndarray:
    from sklearn import datasets

    content = (Path(datasets.__file__).parent / "images" / name).read_bytes()
    return decode(content, (427, 640))  # its own size


def _crop(photo: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    side = random.randint(MIN_CROP, min(photo.shape[:2]) + 1)
    top, left = (random.randint(0, length - side + 1) for length in photo.shape[:2])
    crop = photo[top : top + side, left : left + side]
    return crop[:, ::-1] if random.rand() < 0.5 else crop


def _relight(image: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Simulate dark, faint, colored or harsh light, which is missing in the two photos."""
    pixels = image.astype(np.float32)
    kind = random.randint(4)
    if kind == 0:
        pixels *= random.uniform(0.3, 1.0, size=3)
    elif kind == 1:
        pixels = 255 - (255 - pixels) * random.uniform(0.3, 1.0)
    elif kind == 2:
        pixels = (pixels - pixels.mean()) * random.uniform(1.0, 2.0) + pixels.mean()
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _draw(random: np.random.RandomState) -> np.ndarray:
    """Return an image of a few rectangles on a plain background."""
    image = np.empty((64, 64, 3), dtype=np.uint8)
    image[:] = random.randint(256, size=3)
    for _ in range(random.randint(1, 6)):
        top, left, height, width = random.randint(1, 48, size=4)
        image[top : top + height, left : left + width] = random.randint(256, size=3)
    return image


def _paste(photo: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Return a crop on a plain background, like photos of objects in catalogs."""
    image = np.empty((PASTED_ON, PASTED_ON, 3), dtype=np.uint8)
    image[:] = random.choice([0, 255, random.randint(256)])
    side = random.randint(PASTED_ON // 4, PASTED_ON * 3 // 4)
    top, left = random.randint(0, PASTED_ON - side + 1, size=2)
    crop = decode(np.ascontiguousarray(_crop(photo, random)), (side, side))
    image[top : top + side, left : left + side] = crop
    return image

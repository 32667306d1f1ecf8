"""Checks which images a Keras network takes."""

from typing import Any

from resnet_kmeans.exceptions import NetworkError
from resnet_kmeans.network.keras_errors import plain_reason
from resnet_kmeans.network.weights import NetworkSpec

SMALLEST = 32  # pixels a side, of the images that `ResNetFeaturizer` resizes to


def n_channels(model: Any, spec: NetworkSpec) -> int:
    """Return how many channels a network takes: 3, or 1 if it takes grey images.

    Raises
    ------
    NetworkError
        If the network takes no images, or others than `spec` describes.
    """
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) > 1:
        raise refused_count("input", [tensor.name for tensor in inputs])
    shape = _built_shape(model)
    if not shape:
        return 3
    # A model without a graph may take sizes other than the one it was built with.
    is_fixed = bool(inputs) and len(shape) == 3
    wanted = _wanted_size(shape, spec) if is_fixed else spec.input_shape
    if advice := _way_out(shape, wanted if wanted != spec.input_shape else None):
        raise NetworkError(
            "Expected a network that takes images of shape (height, width, 3) or (height, width, "
            f"1), at least {SMALLEST} pixels a side, got {model.name}, which takes "
            f"{_shown(shape)}. Nothing was computed. {advice}"
        )
    if wanted != spec.input_shape:
        raise NetworkError(
            f"Expected the input_shape of {model.name}, {wanted}, got {spec.input_shape}. Nothing "
            f"was computed. Pass {_option(wanted)}."
        )
    if shape[-1] == 1 and spec.preprocess in ("caffe", "torch"):
        raise NetworkError(
            f'Expected preprocess="none" or "tf" for {model.name}, which takes one channel, got '
            f'"{spec.preprocess}", whose constants are those of three colors. Nothing was '
            'computed. Pass the mode that it was trained with, preprocess="none" (--preprocess '
            'none) or "tf", or save a network that takes three channels and makes grey of them.'
        )
    return shape[-1] or 3


def refused_count(what: str, names: list[str]) -> NetworkError:
    """Return the error for several inputs or outputs, as any of them may be meant."""
    way = "Choose one with layer=NAME (--layer NAME)"
    way = way if what == "output" else "Use a part with a single input"
    return NetworkError(
        f"Expected a network with one {what}, got {len(names)}: {', '.join(names)}. Nothing "
        f"was computed. {way}, or save keras.Model(input, output) as a .keras file."
    )


def refused_call(model: Any, spec: NetworkSpec, error: Exception) -> NetworkError:
    """Return the error for a network that fails on images of the size of `spec`."""
    shape = _built_shape(model)
    wanted = _wanted_size(shape, spec) if len(shape) == 3 else spec.input_shape
    option = "the input_shape=(HEIGHT, WIDTH) (--input-shape HEIGHT WIDTH) of its training"
    return NetworkError(
        f"Expected a network that takes images of {spec.input_shape} pixels, got {model.name}, "
        f"which fails: {plain_reason(error)}. Nothing was computed. Pass "
        f"{option if wanted == spec.input_shape else _option(wanted)}, or another network."
    )


def _built_shape(model: Any) -> tuple[int | None, ...]:
    """Return the shape of the images that a network was built for; () if it does not say."""
    if inputs := getattr(model, "inputs", None):
        return tuple(inputs[0].shape[1:])
    shape = (model.get_build_config() or {}).get("input_shape")
    is_shape = isinstance(shape, (tuple, list)) and all(isinstance(n, int) for n in shape[1:])
    return tuple(shape[1:]) if shape and is_shape else ()


def _wanted_size(shape: tuple[int | None, ...], spec: NetworkSpec) -> tuple[int, int]:
    height, width = (side or given for side, given in zip(shape, spec.input_shape))
    return height, width


def _way_out(shape: tuple[int | None, ...], wanted: tuple[int, int] | None) -> str:
    """Return what to do about a network that takes no images of ours, or ''."""
    if len(shape) != 3:
        return "Pass a network of images."
    height, width, channels = shape
    if height in (1, 3):
        size = f"{width or 'HEIGHT'}, {channels or 'WIDTH'}"
        return _prepend(f"{size}, {height}", "Permute((3, 1, 2))", "Its channels come first. ")
    if channels not in (1, 3, None):
        return f"Save a network that makes its {channels} channels of red, green and blue itself."
    if wanted and min(wanted) < SMALLEST:
        size = f"{max(SMALLEST, wanted[0])}, {max(SMALLEST, wanted[1])}"
        return _prepend(f"{size}, {channels or 3}", f"Resizing{wanted}")
    return ""


def _prepend(shape: str, layer: str, first: str = "") -> str:
    return (
        f"{first}Save keras.Sequential([keras.Input(({shape})), keras.layers.{layer}, model]) "
        "as a .keras file, and pass that."
    )


def _option(size: tuple[int, int]) -> str:
    return f"input_shape={size} (--input-shape {size[0]} {size[1]})"


def _shown(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if n is None else str(n) for n in shape)})"

"""Checks which images a network takes."""

from collections.abc import Iterable
from typing import Any

from resnet_kmeans.exceptions import NetworkError, printable
from resnet_kmeans.network.keras_errors import plain_reason
from resnet_kmeans.network.weights import NetworkSpec

Shape = tuple[int | None, ...]  # None is any number
SMALLEST = 32  # pixels a side, of the images that `ResNetFeaturizer` resizes to


def n_channels(model: Any, spec: NetworkSpec) -> int:
    """Return how many channels a Keras network takes, and raise the errors of `check_shape`."""
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) > 1:
        raise refused_count("input", [tensor.name for tensor in inputs])
    shape = _built_shape(model)
    if shape and not inputs:  # a model without a graph may take sizes other than that of its build
        shape = (*(None for _ in shape[1:]), shape[-1])
    is_integral = bool(inputs) and "int" in inputs[0].dtype
    return check_shape(model.name, shape or (None, None, 3), spec, is_integral)


def check_shape(name: str, shape: Shape, spec: NetworkSpec, is_integral: bool = False) -> int:
    """Return how many channels a network takes: 3, or 1 if it takes grey images.

    Parameters
    ----------
    name : str
        The network, for messages.
    shape : tuple of int or None
        Height, width and channels of what it takes; None is any number.
    spec : NetworkSpec
    is_integral : bool, default=False
        Whether it takes whole numbers.

    Raises
    ------
    NetworkError
        If it takes no images, or others than `spec` describes.
    """
    wanted = tuple(side or given for side, given in zip(shape, spec.input_shape))
    is_image = len(shape) == 3 and shape[0] not in (1, 3) and shape[2] in (1, 3, None)
    if not is_image or min(wanted) < SMALLEST:
        raise NetworkError(
            "Expected a network that takes images of shape (height, width, 3) or (height, width, "
            f"1), at least {SMALLEST} pixels a side, got {name}, which takes {shown(shape)}. "
            "Nothing was computed. Pass another network, or save this one with a layer before it "
            "that makes its input of such images: in Keras, keras.Sequential([keras.Input((HEIGHT, "
            f"WIDTH, {1 if shape[-1:] == (1,) else 3})), keras.layers.Permute((3, 1, 2)), model]) "
            "if its channels come first, or Resizing instead of Permute if its images are smaller."
        )
    if wanted != spec.input_shape:
        raise NetworkError(
            f"Expected the input_shape of {name}, {wanted}, got {spec.input_shape}. Nothing was "
            f"computed. Pass {_option(*wanted)}."
        )
    if is_integral and spec.preprocess != "none":
        raise NetworkError(
            f'Expected preprocess="none" (--preprocess none) for {name}, which takes whole '
            f"numbers, got {spec.preprocess!r}. Nothing was computed. Such a network scales its "
            "pixels itself."
        )
    if shape[2] == 1 and spec.preprocess in ("caffe", "torch"):
        raise NetworkError(
            f'Expected preprocess="none" or "tf" for {name}, which takes one channel, got '
            f'"{spec.preprocess}", whose constants are those of three colors. Nothing was '
            'computed. Pass the mode that it was trained with, preprocess="none" (--preprocess '
            'none) or "tf", or save a network that takes three channels and makes grey of them.'
        )
    return shape[2] or 3


def refused_count(what: str, names: list[str]) -> NetworkError:
    """Return the error for several inputs or outputs, as any of them may be meant."""
    way = "Choose one with layer=NAME (--layer NAME)" if what == "output" else "Use a part with one"
    return NetworkError(
        f"Expected a network with one {what}, got {len(names)}: {printable(', '.join(names))}. "
        f"Nothing was computed. {way}, or save a network that has no others."
    )


def refused_call(model: Any, spec: NetworkSpec, error: Exception) -> NetworkError:
    """Return the error for a network that fails on images of the size of `spec`."""
    size = _built_shape(model)[:2]
    if size == spec.input_shape or None in size:
        size = ()
    return NetworkError(
        f"Expected a network that takes images of {spec.input_shape} pixels, got {model.name}, "
        f"which fails: {plain_reason(error)}. Nothing was computed. Pass "
        f"{_option(*size or ('HEIGHT', 'WIDTH'))} as in its training, or another network."
    )


def _built_shape(model: Any) -> Shape:
    """Return the shape of the images that a network was built for; () if it does not say."""
    if inputs := getattr(model, "inputs", None):
        return tuple(inputs[0].shape[1:])
    shape = (model.get_build_config() or {}).get("input_shape")
    is_shape = isinstance(shape, (tuple, list)) and all(isinstance(n, int) for n in shape[1:])
    return tuple(shape[1:]) if shape and is_shape else ()


def _option(height: object, width: object) -> str:
    return f"input_shape=({height}, {width}) (--input-shape {height} {width})"


def shown(shape: Iterable[int | None]) -> str:
    """Return a shape for messages; None is any number."""
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"

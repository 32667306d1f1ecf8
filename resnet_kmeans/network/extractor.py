"""Builds a Keras model that maps pixels to features."""

import difflib
from collections.abc import Iterable
from inspect import signature
from typing import Any

import numpy as np

from resnet_kmeans.exceptions import NetworkError
from resnet_kmeans.network.libraries import import_tensorflow
from resnet_kmeans.network.weights import NetworkSpec


def build_extractor(model: Any, spec: NetworkSpec) -> Any:
    """Add preprocessing before a network and pooling after it.

    Parameters
    ----------
    model : keras.Model
        Any network that takes images. The result uses its weights and has no others.
    spec : NetworkSpec
        Only `layer`, `pooling`, `preprocess` and `input_shape` are used.

    Returns
    -------
    keras.Model
        Maps pixels of shape (batch, height, width, 3), dtype uint8, to features of shape
        (batch, n_features), dtype float32.

    Raises
    ------
    NetworkError
        If the network has no layer of that name, has several inputs or outputs, does not take
        images of `input_shape`, or has an output that `pooling` does not apply to.
    """
    keras = import_tensorflow().keras
    network = _cut(model, spec)
    _check_shape(network, spec)
    pixels = keras.Input((*spec.input_shape, 3), dtype="uint8")
    # The `call` of a subclassed model may lack the argument `training`.
    takes_mode = "training" in signature(network.call).parameters
    try:
        maps = network(_prepare(pixels, spec), **{"training": False} if takes_mode else {})
    except ValueError as error:
        raise _refused_shape(spec, str(error).strip().splitlines()[0]) from error
    _check_single("output", maps)  # a model without a graph shows its outputs only here
    return keras.Model(pixels, _pool(keras.ops.cast(maps, "float32"), spec))


def _cut(model: Any, spec: NetworkSpec) -> Any:
    """Return the network up to and including `spec.layer`."""
    keras = import_tensorflow().keras
    if not getattr(model, "outputs", None):  # a subclassed model has no graph to cut
        return model
    _check_single("input", model.input)
    output = model.output
    if spec.layer is not None:
        names = [layer.name for layer in model.layers]
        if spec.layer not in names:
            raise unknown_layer(spec, model.name, names)
        output = model.get_layer(spec.layer).output
    _check_single("output", output)
    return keras.Model(model.inputs, keras.tree.flatten(output)[0])


def unknown_layer(spec: NetworkSpec, network: str, names: list[str]) -> NetworkError:
    """Return the error for a layer that is not one of these names."""
    # Users often give only the beginning, such as conv5_block3 for conv5_block3_out.
    close = [name for name in names if spec.layer and name.startswith(spec.layer)][-3:]
    close = close or difflib.get_close_matches(str(spec.layer), names, n=3)
    some = ", ".join(dict.fromkeys([*close, *names[-3:]]))
    return NetworkError(
        f"Expected the name of a layer of {network}, got {spec.layer!r}. Nothing was computed. "
        f"Close names, and names of the last layers: {some}."
    )


def _check_single(what: str, tensors: Any) -> None:
    """Raise an error if there are several inputs or outputs, as any of them may be meant."""
    found = import_tensorflow().keras.tree.flatten(tensors)
    if len(found) == 1:
        return
    names = list(tensors) if isinstance(tensors, dict) else [tensor.name for tensor in found]
    way = "Choose one with layer=" if what == "output" else "Use a part with a single input"
    raise NetworkError(
        f"Expected a network with one {what}, got {len(found)}: {', '.join(names)}. Nothing "
        f"was computed. {way}, or save keras.Model(input, output) as a .keras file."
    )


def _check_shape(network: Any, spec: NetworkSpec) -> None:
    wanted = getattr(network, "input_shape", (None, None, None, 3))[1:3]
    if any(side not in (None, given) for side, given in zip(wanted, spec.input_shape)):
        raise _refused_shape(spec, f"it takes {wanted}, so pass input_shape={wanted}")


def _refused_shape(spec: NetworkSpec, reason: str) -> NetworkError:
    return NetworkError(
        f"Expected an input_shape that the network takes, got {spec.input_shape}: {reason}. "
        "Nothing was computed."
    )


def _prepare(pixels: Any, spec: NetworkSpec) -> Any:
    """Scale pixels as `keras.applications` does."""
    ops = import_tensorflow().keras.ops
    colors = ops.cast(pixels, "float32")
    if spec.preprocess == "none":
        return colors
    matrix, offset = scaling(spec.preprocess)
    # All modes are linear, so a 1x1 convolution can do them, and compilers merge it with the
    # first layer. It uses constants instead of a layer, so that they are not among the hashed
    # weights.
    return ops.conv(colors, matrix[None, None], data_format="channels_last") + offset


def scaling(mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix (3, 3) and offset (3,) of a preprocessing mode of Keras."""
    # The constants are those of keras/src/applications/imagenet_utils.py.
    colors = np.eye(3, dtype=np.float32)
    if mode == "caffe":  # blue, green, red, as differences from their means in ImageNet
        return colors[::-1], -np.array([103.939, 116.779, 123.68], np.float32)
    if mode == "tf":
        return colors / 127.5, -np.ones(3, np.float32)
    mean = np.array([0.485, 0.456, 0.406], np.float32)  # of the colors of ImageNet, from 0 to 1
    deviation = np.array([0.229, 0.224, 0.225], np.float32)
    return colors / (255 * deviation), -mean / deviation


def _pool(maps: Any, spec: NetworkSpec) -> Any:
    """Pool the output of a network to shape (batch, n_features)."""
    # Feature maps have the shape (batch, height, width, channels); tokens have the shape (batch,
    # tokens, channels). An output of shape (batch, n_features) needs no pooling.
    ops, n_axes = import_tensorflow().keras.ops, len(maps.shape)
    if n_axes == 2:
        return maps
    if spec.pooling is None:
        return ops.reshape(maps, (-1, int(np.prod(maps.shape[1:]))))
    if n_axes == 3 and spec.pooling == "token":
        return maps[:, 0]
    if n_axes in (3, 4) and spec.pooling != "token":
        pool = ops.mean if spec.pooling == "avg" else ops.max
        return pool(maps, axis=tuple(range(1, n_axes - 1)))
    raise refused_pooling(spec, maps.shape[1:])


def refused_pooling(spec: NetworkSpec, shape: Iterable[object]) -> NetworkError:
    """Return the error for an output of some shape that cannot be pooled in this way."""
    return NetworkError(
        f"Expected {'tokens' if spec.pooling == 'token' else 'maps or tokens'} to pool with "
        f"pooling={spec.pooling!r}, got an output of shape ({', '.join(map(str, shape))}) per "
        'image. Nothing was computed. Pass pooling="avg" for maps, None to flatten, or another '
        "layer."
    )

"""Builds a Keras model that maps pixels to features."""

import difflib
from collections.abc import Iterable
from contextlib import suppress
from inspect import signature
from typing import Any

import numpy as np

from resnet_kmeans.exceptions import NetworkError
from resnet_kmeans.network.image_input import (
    Shape,
    n_channels,
    refused_call,
    refused_count,
    shown,
)
from resnet_kmeans.network.libraries import import_tensorflow
from resnet_kmeans.network.weights import NetworkSpec

# Pillow's weights of red, green and blue for mode "L" (ITU-R 601), times 65536.
LUMA = np.array([19595, 38470, 7471], np.int32)


def build_extractor(model: Any, spec: NetworkSpec) -> Any:
    """Add preprocessing before a network and pooling after it.

    Parameters
    ----------
    model : keras.Model
        Any network that takes images, in color or grey, also one without a graph of its layers.
        The result uses its weights and has no others.
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
    pixels = keras.Input((*spec.input_shape, 3), dtype="uint8")
    images = _prepare(pixels, spec, n_channels(model, spec))
    try:
        network = _cut(model, spec, images)
        outputs = network(images, **_mode(network))
        maps = keras.ops.cast(_single(outputs, network), "float32")
    except NetworkError:
        raise
    except Exception as error:  # a layer may raise anything
        raise refused_call(model, spec, error) from error
    return keras.Model(pixels, _pool(maps, spec))


def _cut(model: Any, spec: NetworkSpec, images: Any) -> Any:
    """Return the network up to and including `spec.layer`."""
    keras = import_tensorflow().keras
    if spec.layer is None:
        return _graph_of(model) or model
    inputs = keras.Input(batch_shape=images.shape)
    outputs = _outputs_of_layers(model, inputs)
    if spec.layer not in outputs:
        raise unknown_layer(spec, model.name, list(outputs))
    return keras.Model(inputs, outputs[spec.layer])


def _mode(network: Any) -> dict[str, bool]:
    """Return the argument of a network that keeps it from training."""
    # The `call` of a subclassed model may lack it.
    return {"training": False} if "training" in signature(network.call).parameters else {}


def _graph_of(model: Any) -> Any:
    """Return the graph of a network's layers, or None if it has none."""
    keras = import_tensorflow().keras
    if not getattr(model, "outputs", None):  # a subclassed model, or an unused Sequential
        return None
    # Of a Sequential, `output` is that of its first call by another model.
    outputs = model.outputs if isinstance(model, keras.Sequential) else model.output
    return keras.Model(model.inputs, outputs)


def _outputs_of_layers(model: Any, inputs: Any) -> dict[str, Any]:
    """Return the output of each layer of a network by name, those of inner networks too."""
    keras, found = import_tensorflow().keras, {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        if isinstance(layer, keras.Model):
            # Layers that its `call` does not apply to Keras' own tensors remain hidden.
            with suppress(Exception):
                found.update(_outputs_of_layers(layer, *keras.tree.flatten(args)))
        if isinstance(layer, keras.Layer):
            found[layer.name] = outputs
        return outputs

    # Unlike calling a model, `call` adds each of its layers to the graph.
    graph = _graph_of(model) or keras.Model(inputs, model.call(inputs, **_mode(model)))
    own = {"clone_function": lambda layer: layer, "call_function": call}
    keras.models.clone_model(graph, keras.tree.pack_sequence_as(graph.input, [inputs]), **own)
    return found


def _single(outputs: Any, network: Any) -> Any:
    """Return the only output of a network."""
    found = import_tensorflow().keras.tree.flatten(outputs)
    if len(found) == 1:
        return found[0]
    # A model without a graph shows its outputs only here.
    names = getattr(network, "output_names", None) or [tensor.name for tensor in found]
    raise refused_count("output", list(outputs) if isinstance(outputs, dict) else names)


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


def _prepare(pixels: Any, spec: NetworkSpec, channels: int) -> Any:
    """Make pixels grey if the network takes one channel; scale them as Keras does."""
    ops = import_tensorflow().keras.ops
    if channels == 1:  # in integers, which are exact in any precision
        luma = ops.sum(ops.cast(pixels, "int32") * LUMA, axis=-1, keepdims=True)
        pixels = (luma + 32768) // 65536
    images = ops.cast(pixels, "float32")
    if spec.preprocess == "none":
        return images
    matrix, offset = scaling(spec.preprocess, channels)
    # All modes are linear, so a 1x1 convolution can do them, and compilers merge it with the
    # first layer. It uses constants instead of a layer, so that they are not among the hashed
    # weights.
    return ops.conv(images, matrix[None, None], data_format="channels_last") + offset


def scaling(mode: str, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix and offset of a preprocessing mode of Keras; that of grey is "tf"."""
    # The constants are those of keras/src/applications/imagenet_utils.py.
    colors = np.eye(channels, dtype=np.float32)
    if mode == "caffe":  # blue, green, red, as differences from their means in ImageNet
        return colors[::-1], -np.array([103.939, 116.779, 123.68], np.float32)
    if mode == "tf":
        return colors / 127.5, -np.ones(channels, np.float32)
    mean = np.array([0.485, 0.456, 0.406], np.float32)  # of the colors of ImageNet, from 0 to 1
    deviation = np.array([0.229, 0.224, 0.225], np.float32)
    return colors / (255 * deviation), -mean / deviation


def _pool(maps: Any, spec: NetworkSpec) -> Any:
    """Pool the output of a network to shape (batch, n_features)."""
    # Feature maps have the shape (batch, height, width, channels); tokens have the shape (batch,
    # tokens, channels). An output of shape (batch, n_features) needs no pooling.
    ops, n_axes = import_tensorflow().keras.ops, len(maps.shape)
    if None in maps.shape[1:]:
        raise refused_pooling(spec, maps.shape[1:])
    if n_axes == 2:
        return maps
    if spec.pooling is None or n_axes == 1:
        return ops.reshape(maps, (-1, int(np.prod(maps.shape[1:]))))
    if n_axes == 3 and spec.pooling == "token":
        return maps[:, 0]
    if n_axes in (3, 4) and spec.pooling != "token":
        pool = ops.mean if spec.pooling == "avg" else ops.max
        axes = [1] if n_axes == 3 else spatial_axes(tuple(maps.shape[1:]), spec, is_last=True)
        return pool(maps, axis=tuple(axes))
    raise refused_pooling(spec, maps.shape[1:])


def spatial_axes(shape: Shape, spec: NetworkSpec, is_last: bool) -> list[int]:
    """Return the axes of maps that are not channels."""
    # Usually the channels are where those of the input are. But Swin of timm, for example, takes
    # them first and returns them last; then the sides of its maps tell.
    usual, other = ([1, 2], [2, 3]) if is_last else ([2, 3], [1, 2])

    def fits(axes: list[int]) -> bool:
        sides = [side for axis in axes if (side := shape[axis - 1])]
        return len(sides) < 2 or sides[0] * spec.input_shape[1] == sides[1] * spec.input_shape[0]

    return other if fits(other) and not fits(usual) else usual


def refused_pooling(spec: NetworkSpec, shape: Iterable[int | None]) -> NetworkError:
    """Return the error for an output of some shape that cannot be pooled in this way."""
    return NetworkError(
        f"Expected {'tokens' if spec.pooling == 'token' else 'maps or tokens'} to pool with "
        f"pooling={spec.pooling!r}, got an output of shape {shown(shape)} per image. Nothing was "
        'computed. Pass pooling="avg" (--pooling avg) for maps, None (--pooling none) to flatten, '
        "or another layer=NAME (--layer NAME)."
    )

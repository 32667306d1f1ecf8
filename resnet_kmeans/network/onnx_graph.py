"""Puts the preprocessing before the network of an ONNX file, and the pooling after it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from resnet_kmeans.exceptions import NetworkError, WeightsFileError, WeightsNotFoundError, printable
from resnet_kmeans.network.extractor import refused_pooling, scaling, unknown_layer
from resnet_kmeans.network.libraries import import_openvino
from resnet_kmeans.network.weights import NetworkSpec

GREY = np.array([[0.299], [0.587], [0.114]], np.float32)  # luma of ITU-R BT.601, as in Pillow


def build_onnx_graph(spec: NetworkSpec, n_images: int = -1) -> Any:
    """Return the graph of an ONNX file, from pixels to features.

    Parameters
    ----------
    spec : NetworkSpec
        `layer` is the name of a node or of its output.
    n_images : int, default=-1
        Number of images in a batch; -1 is any number.

    Returns
    -------
    openvino.Model
        Maps pixels of shape (n_images, height, width, 3), dtype uint8, to features of shape
        (n_images, n_features), dtype float32.

    Raises
    ------
    WeightsNotFoundError, WeightsFileError
        If the file, or one that it needs, is missing or damaged, or OpenVINO lacks an operation.
    NetworkError
        If the network has no layer of that name, has several inputs or outputs, does not take
        images of `input_shape`, or has an output that `pooling` does not apply to.
    """
    openvino = import_openvino()
    ops = openvino.opset13
    output = _output(_read(spec), spec)
    images, is_last = _images(output, spec)
    wanted = [n_images, *spec.input_shape]
    wanted.insert(3 if is_last else 1, images.partial_shape[3 if is_last else 1].get_length())
    network = openvino.Model([output], [images.node])
    try:
        network.reshape({images: openvino.PartialShape(wanted)})
    except RuntimeError as error:
        raise NetworkError(
            f"Expected a network that takes {n_images if n_images > 0 else 'any number of'} images "
            f"of {spec.input_shape}, got {printable(spec.file)}: {reason_of(error)}. Nothing was "
            "computed. Export it with a dynamic batch, or for a batch of one image."
        ) from error
    pixels = ops.parameter([n_images, *spec.input_shape, 3], np.uint8, name="pixels")
    scaled = _scaled(ops, pixels, spec, images.partial_shape, is_last)
    taken = ops.convert(scaled, images.element_type)
    for target in images.get_target_inputs():
        target.replace_source_output(taken.output(0))
    maps = ops.convert(network.output(0).node.input_value(0), "f32")
    return openvino.Model([_pool(ops, maps, spec, is_last)], [pixels], spec.file.stem)


def _read(spec: NetworkSpec) -> Any:
    for file in spec.files:
        if not file.is_file():
            raise WeightsNotFoundError(file, None)
    try:
        return import_openvino().Core().read_model(spec.file)
    except RuntimeError as error:
        raise WeightsFileError(spec.file, "an ONNX network", reason_of(error)) from error


def reason_of(error: Exception) -> str:
    """Return what OpenVINO says, without the places in its own code."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not re.match(r"Exception from|Check '|\[ ", line)]
    return (told or lines)[-1].rstrip(".:")


def _output(graph: Any, spec: NetworkSpec) -> Any:
    """Return the output of `spec.layer`, or else of the network."""
    if spec.layer is None:
        _check_single("output", graph.outputs)
        return graph.output(0).node.input_value(0)
    inner = [node for node in graph.get_ordered_ops() if node.get_type_name() not in ENDS]
    outputs = {name: out for node in inner for out in node.outputs() for name in out.get_names()}
    outputs |= {node.get_friendly_name(): node.output(0) for node in inner}
    if spec.layer not in outputs:
        raise unknown_layer(spec, spec.file.name, [*outputs])
    return outputs[spec.layer]


ENDS = ("Constant", "Parameter", "Result")


def _images(output: Any, spec: NetworkSpec) -> tuple[Any, bool]:
    """Return the input that takes images, and whether its channels are last."""
    found = _inputs_of(output)
    _check_single("input", found)
    (images,) = found
    shape = images.partial_shape
    sides = [*shape] if shape.rank.is_static else []
    channels = [axis for axis in (1, 3) if len(sides) == 4 and sides[axis].is_static]
    axes = [axis for axis in channels if sides[axis].get_length() in (1, 3)]
    if not axes:
        raise NetworkError(
            f"Expected a network of images with 3 or 1 channels, got an input of shape {shape} in "
            f"{printable(spec.file)}. Nothing was computed. Export a network that takes images."
        )
    is_last = axes[0] == 3
    height, width = sides[1:3] if is_last else sides[2:]
    if any(s.is_static and s.get_length() != n for s, n in zip((height, width), spec.input_shape)):
        raise NetworkError(
            f"Expected an input_shape that the network takes, got {spec.input_shape}: it takes "
            f"({height}, {width}). Nothing was computed. Pass input_shape=({height}, {width}) or "
            f"--input-shape {height} {width}."
        )
    if images.element_type.is_integral_number() and spec.preprocess != "none":
        raise NetworkError(
            f'Expected preprocess="none" for a network that takes whole numbers, got '
            f"{spec.preprocess!r} with {printable(spec.file)}. Nothing was computed. Such a "
            "network scales its pixels itself."
        )
    return images, is_last


def _inputs_of(output: Any) -> list[Any]:
    """Return the inputs of the network that an output depends on."""
    waiting, seen, found = [output.node], set[str](), []
    while waiting:
        node = waiting.pop()
        if node.get_name() in seen:
            continue
        seen.add(node.get_name())
        if node.get_type_name() == "Parameter":
            found.append(node.output(0))
        waiting += [given.get_node() for given in node.input_values()]
    return found


def _check_single(what: str, found: list[Any]) -> None:
    if len(found) == 1:
        return
    names = ", ".join(min(end.get_names(), default=end.node.get_friendly_name()) for end in found)
    way = "Choose one with layer= (--layer)" if what == "output" else "Export its image part alone"
    raise NetworkError(
        f"Expected a network with one {what}, got {len(found)}: {printable(names)}. Nothing was "
        f"computed. {way}."
    )


def _scaled(ops: Any, pixels: Any, spec: NetworkSpec, shape: Any, is_last: bool) -> Any:
    """Return pixels with the scale, the channels and the axes that a network takes."""
    x = ops.convert(pixels, "f32")
    matrix, offset = np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    if spec.preprocess != "none":
        matrix, offset = scaling(spec.preprocess)
    if shape[3 if is_last else 1].get_length() == 1:  # scaled as the mean of the colors
        matrix, offset = GREY * matrix.sum() / 3, offset.mean(keepdims=True)
    if offset.any() or len(matrix[0]) == 1:
        x = ops.add(ops.matmul(x, matrix, False, False), offset)
    return x if is_last else ops.transpose(x, [0, 3, 1, 2])


def _pool(ops: Any, maps: Any, spec: NetworkSpec, is_last: bool) -> Any:
    """Pool the output of a network to rows."""
    shape = maps.get_output_partial_shape(0)
    sides = [*shape][1:] if shape.rank.is_static else []
    n_axes = len(sides) + 1
    if n_axes == 2:
        return maps
    if spec.pooling is None:
        return ops.reshape(maps, [0, -1], special_zero=True)
    if n_axes == 3 and spec.pooling == "token":
        return ops.gather(maps, np.int64(0), np.int64(1))
    if n_axes not in (3, 4) or spec.pooling == "token":
        raise refused_pooling(spec, [side.to_string() for side in sides])
    axes = [1] if n_axes == 3 else _spatial_axes(shape, spec, is_last)
    return (ops.reduce_mean if spec.pooling == "avg" else ops.reduce_max)(maps, axes)


def _spatial_axes(shape: Any, spec: NetworkSpec, is_last: bool) -> list[int]:
    """Return the axes of maps that are not channels."""
    # Usually the channels are where those of the input are. But Swin of timm, for example, takes
    # them first and returns them last; then the sides of its maps tell.
    usual, other = ([1, 2], [2, 3]) if is_last else ([2, 3], [1, 2])

    def fits(axes: list[int]) -> bool:
        sides = [shape[axis].get_length() for axis in axes if shape[axis].is_static]
        return len(sides) < 2 or sides[0] * spec.input_shape[1] == sides[1] * spec.input_shape[0]

    return other if fits(other) and not fits(usual) else usual

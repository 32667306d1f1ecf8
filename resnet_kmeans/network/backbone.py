"""Turns a Keras ResNet into a fast frozen function from pixels to features."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans.network.extractor import build_extractor
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
        self._spec = spec
        gpu = _has_gpu()
        self.batch_size = _batch_size(spec, gpu)
        self.precision = _precision(spec, gpu)
        if self.precision == "bfloat16":
            _lower_precision(model)
        extractor = build_extractor(model, spec)
        self._weights_hash = _hash_weights(extractor)
        self.n_features = int(extractor.output_shape[1])
        self._function = _freeze(extractor, self.batch_size)
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


def _hash_weights(model: Any) -> str:
    digest = hashlib.sha256()
    for value in model.get_weights():
        digest.update(f"{value.shape} {value.dtype}".encode())
        # As bytes: NumPy has no buffer of bfloat16.
        digest.update(np.ascontiguousarray(value).view(np.uint8).data)
    return digest.hexdigest()


def _lower_precision(model: Any) -> None:
    """Let a model compute in bfloat16; its weights and its result stay float32."""
    for layer in model._flatten_layers():
        layer.dtype_policy = "mixed_bfloat16"


def _freeze(extractor: Any, batch_size: int) -> Callable[[np.ndarray], Any]:
    """Trace a function of one shape, its weights as constants, which TensorFlow lays out once."""
    tensorflow = import_tensorflow().tensorflow
    trained = [variable.numpy() for variable in extractor.trainable_variables]
    others = [variable.numpy() for variable in extractor.non_trainable_variables]

    def features(pixels: Any) -> Any:
        rows, _ = extractor.stateless_call(trained, others, pixels, training=False)
        return rows

    takes = tensorflow.TensorSpec((batch_size, *extractor.input_shape[1:]), "uint8")
    traced = tensorflow.function(features, autograph=False).get_concrete_function(takes)
    return lambda pixels: traced(tensorflow.constant(pixels))

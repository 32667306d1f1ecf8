"""Runs a network with TensorFlow, as one function whose weights are constants."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import joblib
import numpy as np

from resnet_kmeans.network.device import may_have_gpu
from resnet_kmeans.network.extractor import build_extractor
from resnet_kmeans.network.running import Network
from resnet_kmeans.network.weights import NetworkSpec, import_tensorflow, limit_threads

CPU_BATCH, GPU_BATCH = 8, 128  # images; measured, see examples/benchmarks/throughput.py


class FrozenNetwork(Network):
    """A network that TensorFlow computes: on a GPU, or where OpenVINO cannot.

    Parameters
    ----------
    model : keras.Model
        The network, as Keras knows it. On a GPU its layers are set to `spec.precision`.
    spec : NetworkSpec
    n_threads : int, default=None
        Threads to compute in; None is one for each core.
    """

    def __init__(self, model: Any, spec: NetworkSpec, n_threads: int | None = None):
        limit_threads(n_threads or joblib.cpu_count())
        gpu = has_gpu()
        precision = _precision(spec, gpu)
        if precision == "bfloat16":
            _lower_precision(model)
        extractor = build_extractor(model, spec)
        super().__init__(
            spec,
            weights_hash=hash_weights(extractor),
            n_features=int(extractor.output_shape[1]),
            batch_size=_batch_size(spec, gpu),
            precision=precision,
            n_streams=1,
        )
        self._function = freeze(extractor)
        # TensorFlow 2.21 keeps the summand of a fused convolution in the kernel that all calls
        # share: two at the same time gave garbage rows, or crashed. Turns cost 4 % of speed.
        self._turn = threading.Lock()

    def _compute(self, batch: np.ndarray) -> np.ndarray:
        pixels = import_tensorflow().tensorflow.constant(batch)
        with self._turn:
            rows = self._function(pixels)
        return np.asarray(rows)


def has_gpu() -> bool:
    """Return whether TensorFlow sees a GPU; it is only imported where there may be one."""
    if not may_have_gpu():
        return False
    return bool(import_tensorflow().tensorflow.config.list_physical_devices("GPU"))


def hash_weights(model: Any) -> str:
    """Return a hash of the values of a model's weights, in the order of Keras."""
    digest = hashlib.sha256()
    for value in model.get_weights():
        digest.update(f"{value.shape} {value.dtype}".encode())
        # As bytes: NumPy has no buffer of bfloat16.
        digest.update(np.ascontiguousarray(value).view(np.uint8).data)
    return digest.hexdigest()


def freeze(extractor: Any) -> Any:
    """Trace a model to a TensorFlow function of any number of images.

    Its weights become constants, which compilers fold and lay out once for all.
    """
    tensorflow = import_tensorflow().tensorflow
    trained = [variable.numpy() for variable in extractor.trainable_variables]
    others = [variable.numpy() for variable in extractor.non_trainable_variables]

    def features(pixels: Any) -> Any:
        rows, _ = extractor.stateless_call(trained, others, pixels, training=False)
        return rows

    takes = tensorflow.TensorSpec(extractor.input_shape, "uint8")
    return tensorflow.function(features, autograph=False).get_concrete_function(takes)


def _batch_size(spec: NetworkSpec, gpu: bool) -> int:
    if isinstance(spec.batch_size, str):
        return GPU_BATCH if gpu else CPU_BATCH
    return int(spec.batch_size)


def _precision(spec: NetworkSpec, gpu: bool) -> str:
    """Return the type to compute in: on a processor float32, on a GPU bfloat16 where it can."""
    if not gpu or spec.precision == "float32":
        return "float32"
    config = import_tensorflow().tensorflow.config
    (first, *_) = config.list_physical_devices("GPU")
    details = config.experimental.get_device_details(first)
    is_ampere = details.get("compute_capability", (0, 0)) >= (8, 0)
    return "bfloat16" if is_ampere or spec.precision == "bfloat16" else "float32"


def _lower_precision(model: Any) -> None:
    """Let a model compute in bfloat16; its weights and its result stay float32."""
    for layer in model._flatten_layers():
        layer.dtype_policy = "mixed_bfloat16"

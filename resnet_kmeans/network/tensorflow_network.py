"""Runs a network with TensorFlow, as one function with constant weights."""

import hashlib
import json
import re
import threading
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from resnet_kmeans.exceptions import NetworkError
from resnet_kmeans.network.base import Network
from resnet_kmeans.network.extractor import build_extractor
from resnet_kmeans.network.keras_errors import plain_reason, read_archive
from resnet_kmeans.network.libraries import has_gpu, import_tensorflow, limit_threads
from resnet_kmeans.network.weights import NetworkSpec

CPU_BATCH, GPU_BATCH = 8, 128  # images; measured by examples/benchmarks/throughput.py


class FrozenNetwork(Network):
    """A network that TensorFlow runs, on a GPU or because OpenVINO cannot run it.

    Parameters
    ----------
    model : keras.Model
        On a GPU its layers are changed to compute in `spec.precision`.
    spec : NetworkSpec
    n_threads : int, default=None
        Number of computing threads; None uses one per core.
    """

    def __init__(self, model: Any, spec: NetworkSpec, n_threads: int | None = None):
        limit_threads(n_threads or joblib.cpu_count())
        gpu, version = has_gpu(), import_tensorflow().tensorflow.__version__
        default = GPU_BATCH if gpu else CPU_BATCH
        if gpu and gpu_precision(spec) == "bfloat16":
            _lower_precision(model)
        extractor = build_extractor(model, spec)
        super().__init__(
            spec,
            weights_hash=hash_network(extractor, spec),
            n_features=int(extractor.output_shape[1]),
            batch_size=int(default if isinstance(spec.batch_size, str) else spec.batch_size),
            n_streams=1,
            library=f"TensorFlow {version}{' on a GPU' if gpu else ''}",
        )
        self._function = freeze(extractor)
        # In TensorFlow 2.21, all calls share a buffer in the kernel of fused convolutions, so
        # concurrent calls returned garbage or crashed. The lock costs 4% of the speed.
        self._lock = threading.Lock()

    def _compute(self, batch: np.ndarray) -> np.ndarray:
        pixels = import_tensorflow().tensorflow.constant(batch)
        with self._lock:
            rows = self._function(pixels)
        return np.asarray(rows)


def hash_network(model: Any, spec: NetworkSpec) -> str:
    """Return a hash of a model's weight values and, if it was read from a file, of its layers."""
    digest = hashlib.sha256(_layers_of(spec.file).encode() if spec.is_whole_model else b"")
    for value in model.get_weights():
        digest.update(f"{value.shape} {value.dtype}".encode())
        # Viewed as bytes, because NumPy cannot export a buffer of bfloat16.
        digest.update(np.ascontiguousarray(value).view(np.uint8).data)
    return digest.hexdigest()


def _layers_of(file: Path) -> str:
    """Return what a .keras file says of the layers of its model, without their numbers.

    Models with the same weights and other layers return other features.
    """
    saved = json.loads(read_archive(file, "config.json") or "{}")
    text = json.dumps([saved.get("class_name"), saved.get("config")], sort_keys=True)
    # The numbers in names depend on what was built before, and freezing changes no feature.
    return re.sub(r'_\d+(?=")|"trainable": \w+', "", text)


def freeze(extractor: Any) -> Any:
    """Trace a model to a TensorFlow function that takes any number of images.

    Raises
    ------
    NetworkError
        If a layer cannot be traced.
    """
    # Weights become constants, which compilers can fold and arrange in memory once.
    tensorflow = import_tensorflow().tensorflow
    trained = [variable.numpy() for variable in extractor.trainable_variables]
    others = [variable.numpy() for variable in extractor.non_trainable_variables]

    def features(pixels: Any) -> Any:
        rows, _ = extractor.stateless_call(trained, others, pixels, training=False)
        return rows

    takes = tensorflow.TensorSpec(extractor.input_shape, "uint8")
    try:
        return tensorflow.function(features, autograph=False).get_concrete_function(takes)
    except Exception as error:  # a layer of the user's own may raise anything
        raise NetworkError(
            "Expected a network that TensorFlow can run on images of "
            f"{extractor.input_shape[1:3]} pixels, got one that fails: {plain_reason(error)}. "
            "Nothing was computed. Check it with Keras: model(images, training=False)."
        ) from error


def gpu_precision(spec: NetworkSpec) -> str:
    """Return the type to compute in on the GPU: "auto" is bfloat16 on one that has it."""
    if spec.precision != "auto":
        return spec.precision
    config = import_tensorflow().tensorflow.config
    (first, *_) = config.list_physical_devices("GPU")
    details = config.experimental.get_device_details(first)
    # Tensor cores multiply bfloat16 since Ampere, compute capability 8.0.
    is_ampere = details.get("compute_capability", (0, 0)) >= (8, 0)
    return "bfloat16" if is_ampere else "float32"


def _lower_precision(model: Any) -> None:
    """Make a model compute in bfloat16; weights and output stay float32."""
    for layer in model._flatten_layers():
        layer.dtype_policy = "mixed_bfloat16"

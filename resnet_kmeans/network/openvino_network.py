"""Runs a network with OpenVINO, which needs neither TensorFlow nor Keras."""

from queue import SimpleQueue
from typing import Any

import joblib
import numpy as np

from resnet_kmeans.network.base import Network
from resnet_kmeans.network.compiled_files import CompiledFile
from resnet_kmeans.network.libraries import cpu_has_bfloat16, import_openvino
from resnet_kmeans.network.weights import NetworkSpec

# Images per batch. Sizes from 1 to 16 are equally fast (examples/benchmarks/throughput.py).
# A small batch keeps a single image cheap, but with one image per batch, the feature cache would
# be written after each image.
CPU_BATCH = 4


class CompiledNetwork(Network):
    """A network that OpenVINO runs on the processor.

    Each calling thread uses a stream of its own. All streams return identical results.

    Parameters
    ----------
    compiled : CompiledFile
        Contains the graph of the network.
    spec : NetworkSpec
        Only `precision` and `batch_size` are used; the rest is part of the graph.
    n_threads : int, default=None
        Number of threads, each with a stream; None uses one per core.
    """

    def __init__(self, compiled: CompiledFile, spec: NetworkSpec, n_threads: int | None = None):
        n_threads = n_threads or joblib.cpu_count()
        super().__init__(
            spec,
            weights_hash=compiled.weights_hash,
            n_features=compiled.n_features,
            batch_size=CPU_BATCH if isinstance(spec.batch_size, str) else int(spec.batch_size),
            precision=_precision(spec.precision),
            n_streams=n_threads,
        )
        graph = compiled.graph.clone()  # reshaping changes a graph in place
        graph.reshape([self.batch_size, *spec.input_shape, 3])
        hints = _hints(self.precision, n_threads)
        runnable = import_openvino().Core().compile_model(graph, "CPU", hints)
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.n_streams):
            self._requests.put(runnable.create_infer_request())

    def _compute(self, batch: np.ndarray) -> np.ndarray:
        request = self._requests.get()
        try:
            rows = request.infer([np.ascontiguousarray(batch)], share_inputs=True)
            return np.asarray(rows[0])
        finally:
            self._requests.put(request)


def _precision(precision: str) -> str:
    """Return the type to compute in for a value of the parameter `precision`."""
    if precision != "auto":
        return precision
    return "bfloat16" if cpu_has_bfloat16() else "float32"


def _hints(precision: str, n_threads: int) -> dict[str, Any]:
    # An int8 network still has floating-point layers, which use the type in this hint.
    is_low = precision == "bfloat16" or (precision == "int8" and cpu_has_bfloat16())
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if is_low else "f32",
        "NUM_STREAMS": n_threads,
        "INFERENCE_NUM_THREADS": n_threads,
        # Pinning would bind the threads of all processes to the same first cores.
        "ENABLE_CPU_PINNING": False,
    }

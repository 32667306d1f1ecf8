"""Runs a network with OpenVINO, which needs neither TensorFlow nor Keras."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

import joblib
import numpy as np

from resnet_kmeans.network.compiled_file import CompiledFile
from resnet_kmeans.network.device import cpu_has_bfloat16, cpu_precision
from resnet_kmeans.network.running import Network
from resnet_kmeans.network.telemetry import import_openvino
from resnet_kmeans.network.weights import NetworkSpec

# Images; from 1 to 16 are as fast, measured with examples/benchmarks/throughput.py. One
# alone then costs little, and the cache is not written for each of them.
CPU_BATCH = 4


class CompiledNetwork(Network):
    """A network that OpenVINO computes on the processor.

    Every thread that calls has a stream of its own; all streams compute the same bits.

    Parameters
    ----------
    compiled : CompiledFile
        The network's graph.
    spec : NetworkSpec
        Its `precision` and `batch_size` are followed; the rest is in the graph.
    n_threads : int, default=None
        Threads to compute in, each with a stream; None is one for each core.
    """

    def __init__(self, compiled: CompiledFile, spec: NetworkSpec, n_threads: int | None = None):
        n_threads = n_threads or joblib.cpu_count()
        super().__init__(
            spec,
            weights_hash=compiled.weights_hash,
            n_features=compiled.n_features,
            batch_size=CPU_BATCH if isinstance(spec.batch_size, str) else int(spec.batch_size),
            precision=cpu_precision(spec.precision),
            n_streams=n_threads,
        )
        graph = compiled.graph.clone()
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


def _hints(precision: str, n_threads: int) -> dict[str, Any]:
    is_low = precision == "bfloat16" or (precision == "int8" and cpu_has_bfloat16())
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if is_low else "f32",
        "NUM_STREAMS": n_threads,
        "INFERENCE_NUM_THREADS": n_threads,
        # Processes that share a machine would all be pinned to its first cores.
        "ENABLE_CPU_PINNING": False,
    }

"""Runs a network with OpenVINO, which needs neither TensorFlow nor Keras."""

from queue import SimpleQueue
from typing import Any

import joblib
import numpy as np

from resnet_kmeans.network.base import Network
from resnet_kmeans.network.compiled_files import CompiledFile
from resnet_kmeans.network.libraries import has_bfloat16, import_openvino
from resnet_kmeans.network.weights import NetworkSpec

# Images per batch. Sizes from 1 to 16 are equally fast (examples/benchmarks/throughput.py).
# A small batch keeps a single image cheap; one image per batch would mean one write to the
# feature cache per image.
CPU_BATCH = 4


class CompiledNetwork(Network):
    """A network that OpenVINO runs on the processor.

    Each calling thread gets its own stream; all streams return identical bits.

    Parameters
    ----------
    compiled : CompiledFile
        The network's graph.
    spec : NetworkSpec
        Only `precision` and `batch_size` are used; the rest is part of the graph.
    n_threads : int, default=None
        Number of threads, each with a stream; None uses one per core.
    """

    def __init__(self, compiled: CompiledFile, spec: NetworkSpec, n_threads: int | None = None):
        n_threads = n_threads or joblib.cpu_count()
        batch_size = CPU_BATCH if isinstance(spec.batch_size, str) else int(spec.batch_size)
        n_images = compiled.graph.input(0).partial_shape[0]
        if n_images.is_static:  # a network from an ONNX file that takes one image at a time
            batch_size = n_images.get_length()
        graph = compiled.graph.clone()  # reshaping changes a graph in place
        graph.reshape([batch_size, *spec.input_shape, 3])
        runnable = _compile(graph, spec.precision, n_threads)
        super().__init__(
            spec,
            weights_hash=compiled.weights_hash,
            n_features=compiled.n_features,
            batch_size=batch_size,
            n_streams=n_threads,
            library=f"OpenVINO {import_openvino().__version__}",
        )
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


def _compile(graph: Any, precision: str, n_threads: int) -> Any:
    """Compile a graph for the processor, in bfloat16 if it is asked for and there is any."""
    # The layers that int8 leaves in floating point use float32, so that features are the same to
    # the last bit from AVX2 to VNNI. bfloat16 would be 3 to 16% faster where there is any.
    is_lower = precision in ("auto", "bfloat16") and has_bfloat16()
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if is_lower else "f32",
        "NUM_STREAMS": n_threads,
        "INFERENCE_NUM_THREADS": n_threads,
        # Pinning would tie all processes of a machine to the same first cores.
        "ENABLE_CPU_PINNING": False,
    }
    return import_openvino().Core().compile_model(graph, "CPU", options)

"""Runs a network with OpenVINO, which needs neither TensorFlow nor Keras."""

import contextlib
from queue import SimpleQueue
from typing import Any

import joblib
import numpy as np

from resnet_kmeans.network.base import Network
from resnet_kmeans.network.compiled_files import CompiledFile
from resnet_kmeans.network.libraries import import_openvino
from resnet_kmeans.network.weights import NetworkSpec

# Images per batch. Sizes from 1 to 16 are equally fast (examples/benchmarks/throughput.py).
# A small batch keeps a single image cheap; one image per batch would mean one write to the
# feature cache per image.
CPU_BATCH = 4
TYPES = {"bf16": "bfloat16", "f32": "float32"}


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
        graph = compiled.graph.clone()  # reshaping changes a graph in place
        graph.reshape([batch_size, *spec.input_shape, 3])
        runnable = _compile(graph, spec.precision, n_threads)
        used = runnable.get_property("INFERENCE_PRECISION_HINT").to_string()
        super().__init__(
            spec,
            weights_hash=compiled.weights_hash,
            n_features=compiled.n_features,
            batch_size=batch_size,
            precision="int8" if spec.precision == "int8" else TYPES[used],
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
    options = {
        "NUM_STREAMS": n_threads,
        "INFERENCE_NUM_THREADS": n_threads,
        # Pinning would tie all processes of a machine to the same first cores.
        "ENABLE_CPU_PINNING": False,
    }
    core = import_openvino().Core()
    # An int8 network still has floating-point layers, which follow the hint.
    is_native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" or (precision != "float32" and is_native):
        # OpenVINO itself takes float32 where the processor has no bfloat16. It fails where the
        # processor has it, but oneDNN was told not to use it (ONEDNN_MAX_CPU_ISA).
        with contextlib.suppress(RuntimeError):
            return core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "bf16", **options})
    return core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", **options})

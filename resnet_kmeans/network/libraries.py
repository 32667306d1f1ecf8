"""Imports the heavy libraries once, silently, and in one thread at a time."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

from resnet_kmeans.exceptions import NetworkError

_REPORTER = "openvino_telemetry"
# Reentrant, because importing NNCF imports OpenVINO. Threads that import a library at the same
# time would see each other's changes to `sys.modules`, or a half-imported library.
_lock = threading.RLock()


class Libraries(NamedTuple):
    """TensorFlow, and Keras running on it."""

    tensorflow: Any
    keras: Any


def import_tensorflow() -> Libraries:
    """Return TensorFlow and Keras; no other function imports them.

    Raises
    ------
    NetworkError
        If there is no TensorFlow, or Keras does not run on it.
    """
    # By default TensorFlow reserves the whole memory of a GPU.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    try:
        with _lock:
            import keras
            import tensorflow
    except ModuleNotFoundError as error:
        raise NetworkError(
            f"This network needs TensorFlow, but there is no {error.name}. Nothing was computed. "
            'Install it with pip install tensorflow, or pass backbone="efficientnet_lite" or '
            "--backbone efficientnet_lite, which runs without it."
        ) from error
    if keras.backend.backend() != "tensorflow":
        raise NetworkError(
            f"Expected Keras to run on TensorFlow, got {keras.backend.backend()!r}. Nothing "
            "was computed. Unset KERAS_BACKEND, or set it to tensorflow."
        )
    return Libraries(tensorflow, keras)


def import_openvino() -> Any:
    """Return OpenVINO; no other function imports it.

    Raises
    ------
    ImportError
        If OpenVINO is not available for this machine.
    """
    with _lock, _without_reporter():
        import openvino

        # OpenVINO builds its table of types at first use. Two threads that do so at once deadlock:
        # one waits for the table with the interpreter's lock, which the other needs to build it.
        openvino.Type.u8.to_dtype()
    return openvino


def import_nncf() -> Any:
    """Return NNCF, part of the `int8` extra; no other function imports it."""
    with _lock, _without_reporter():
        import nncf
    return nncf


@contextlib.contextmanager
def _without_reporter() -> Iterator[None]:
    """Hide the package that reports usage from imports within the context."""
    # Both OpenVINO and NNCF then fall back to a silent stub of their own.
    before = {_REPORTER: sys.modules[_REPORTER]} if _REPORTER in sys.modules else {}
    sys.modules[_REPORTER] = None  # type: ignore[assignment]  # None forbids the import
    try:
        yield
    finally:
        del sys.modules[_REPORTER]
        sys.modules.update(before)


def has_bfloat16() -> bool:
    """Return whether the processor computes in bfloat16."""
    if "ONEDNN_MAX_CPU_ISA" in os.environ:  # may hide it from OpenVINO, which fails if it is used
        return False
    # On Linux, the import of OpenVINO is spared.
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        flags = file.read(8192).split()  # of the first core
        return not {"avx512_bf16", "avx_ne_convert"}.isdisjoint(flags)
    with contextlib.suppress(ImportError):
        return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return False


def limit_threads(n_threads: int) -> None:
    """Limit the threads of TensorFlow in this process."""
    threading = import_tensorflow().tensorflow.config.threading
    # TensorFlow raises RuntimeError if it has already computed something.
    with contextlib.suppress(RuntimeError):
        threading.set_intra_op_parallelism_threads(n_threads)
        threading.set_inter_op_parallelism_threads(n_threads)


def may_have_gpu() -> bool:
    """Return whether an NVIDIA driver seems to be loaded."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    # /dev/dxg is the GPU under the Windows Subsystem for Linux.
    return any(map(os.path.exists, ("/dev/nvidia0", "/proc/driver/nvidia/gpus", "/dev/dxg")))


def has_gpu() -> bool:
    """Return whether TensorFlow sees a GPU."""
    if not may_have_gpu():  # avoids the import of TensorFlow on most machines
        return False
    return bool(import_tensorflow().tensorflow.config.list_physical_devices("GPU"))

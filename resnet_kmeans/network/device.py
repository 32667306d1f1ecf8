"""Looks at the processor and the GPU without importing anything heavy."""

from __future__ import annotations

import os
from pathlib import Path


def may_have_gpu() -> bool:
    """Return whether the driver of an NVIDIA GPU has left its traces, as far as Linux tells."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    # The last one is that of a GPU under Windows' subsystem for Linux.
    return any(map(os.path.exists, ("/dev/nvidia0", "/proc/driver/nvidia/gpus", "/dev/dxg")))


def cpu_has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 in hardware, as far as Linux tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def cpu_precision(asked: str) -> str:
    """Return the type that a processor computes in when asked for a `precision`."""
    if asked != "auto":
        return asked
    return "bfloat16" if cpu_has_bfloat16() else "float32"

"""Detects what the processor and the GPU can do, without importing heavy libraries."""

from __future__ import annotations

import os
from pathlib import Path


def may_have_gpu() -> bool:
    """Return whether an NVIDIA driver is loaded; False where Linux does not tell."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    # /dev/dxg is the GPU under the Windows Subsystem for Linux.
    return any(map(os.path.exists, ("/dev/nvidia0", "/proc/driver/nvidia/gpus", "/dev/dxg")))


def cpu_has_bfloat16() -> bool:
    """Return whether the processor has bfloat16 arithmetic; False where Linux does not tell."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    # x86 has the first two flags, ARM the third.
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def cpu_precision(precision: str) -> str:
    """Return the type that a processor computes in for a value of `precision`."""
    if precision != "auto":
        return precision
    return "bfloat16" if cpu_has_bfloat16() else "float32"

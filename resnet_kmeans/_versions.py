"""Says which libraries and which processor there are."""

import contextlib
import os
import platform
from functools import cache
from importlib.metadata import distributions, version
from pathlib import Path

# What makes a network; TensorFlow is also distributed under other names.
MAKERS = ("resnet-kmeans", "tensorflow", "tensorflow-cpu", "keras", "openvino")


@cache
def library_versions(*more: str) -> dict[str, str]:
    """Return the installed versions of what makes a network, and of `more`."""
    return {d: version(d) for d in (*MAKERS, *more) if any(distributions(name=d))}


@cache
def processor() -> str:
    """Return a text that differs between processors that have different instructions."""
    # oneDNN, which OpenVINO uses, can be told to use fewer of them.
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return (
            next(line for line in lines if line.lower().startswith(("flags", "features"))) + limit
        )
    return f"{platform.machine()} {platform.processor()} {limit}"

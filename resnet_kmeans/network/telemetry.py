"""Imports OpenVINO and NNCF without their reports to their maker."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

_REPORTER = "openvino_telemetry"


def import_openvino() -> Any:
    """Return OpenVINO; the only place that imports it.

    Raises
    ------
    ImportError
        Where there is no OpenVINO for this machine.
    """
    with _without_reporter():
        import openvino
    return openvino


def import_nncf() -> Any:
    """Return NNCF, of the `int8` extra; the only place that imports it."""
    with _without_reporter():
        import nncf
    return nncf


@contextlib.contextmanager
def _without_reporter() -> Iterator[None]:
    """Let what is imported meanwhile fall back to its own silent stub."""
    before = {_REPORTER: sys.modules[_REPORTER]} if _REPORTER in sys.modules else {}
    sys.modules[_REPORTER] = None  # type: ignore[assignment]  # Python's way to forbid an import
    try:
        yield
    finally:
        del sys.modules[_REPORTER]
        sys.modules.update(before)
